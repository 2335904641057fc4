/** Texts in Markdown for the tests: a typical reply, and texts that are hard to cut into pieces. */

export const REPLY = `# Rain

Rain *is* liquid water; **heavy** rain is ~~dry~~ wet, see [the page](https://e.example/rain "About") or \`rain()\`.
A second line, an image ![a cloud](https://e.example/i.png) and <div>html</div>.

## Kinds

- drizzle
- **shower**, which may
  go on
  - nested
  - more

    \`\`\`python
    def rain():
        return 1
    \`\`\`
- [ ] thunder

1. first

2. second

   with a paragraph
3. third

| kind | mm/h |
|:-----|-----:|
| light | 2 |
| heavy \\| hard | 50 |

\`\`\`js
const a = \`b\`;

if (a < 1) {}
\`\`\`
> quoted *text*
lazily
>
> - a list

***

Setext
------

    indented

    code

~~~
tilde
\`\`\`
~~~
The end & done &amp; &copy; &#65;.
`;

export const TEXTS = {
  reply: REPLY,
  "a list that goes on after a blank line": "1. a\n\n2. b\n\ntext\n",
  "a number that is no list": "1. a\n\n2 b",
  "a definition after its use": "See [a] and [b][c].\n\ntext\n\n[a]: https://e.example/a\n[c]: https://e.example/c 'title'\n",
  "a definition before its use": "[a]: https://e.example/a\n\nSee [a].\n\nAnd [A].\n",
  "a definition whose title goes on": '[a]: https://e.example/a\n"two\nlines"\n\n[a] here\n',
  "a definition in a quote": "> [q]: https://e.example/q\n\n[q] and\n\nmore [q]",
  "two definitions of one label": "[a]\n\n[a]: https://e.example/1\n\n[a]: https://e.example/2\n\n[a]\n",
  "a table that is none": "text\n| a | b |\n|--|--| c\n\nmore\n",
  "a table after text": "text\n| a | b |\n|---|---|\n| 1 | 2 |\nlast row\n\nmore\n",
  "a fence that nobody closes": "text\n```py\na\n\n# no heading\n",
  "a fence within a fence": "````md\n```\na\n```\n````\ntext\n",
  "a fence closed by more": "```\na\n`````\nb\n",
  "a fence with an indent": "  ```\n  a\n    b\n  ```\ntext\n",
  "an empty fence": "```\n```\ntext\n",
  "a fence of blank lines": "```\n\n\n```\ntext\n",
  "a backtick in a fence's first line": "``` a`b\ncode\n",
  "carriage returns": "a\r\nb\r\rc\r\n\r\n- d\r\n- e",
  "headings without text": "#\n##\n# a #\n#b\n",
  "a heading below a paragraph": "para\ntext\n===\nnext\n---\n",
  "a list right after text": "text:\n- a\n- b\n\n* c\n+ d\n",
  "a quote with code": "> ```\n> a\n\nb\n",
  "html": "<div>\n\n*a*\n</div>\n\ntext\n<p>more\n- <b>x</b>\n<br>\n",
  "emphasis that is none": "a * b * c, snake_case_name, 2*3*4, **not closed\n\n*a **b*** `x",
  "nested quotes": "> a\n> > b\n> c\n\n>> d\n",
  "loose and tight": "- a\n- b\n\n- c\n\n\n- d\n   e\n",
  "blank lines only": "\n\n \n\t\n",
  "nothing": "",
  "astral characters": "👩‍👩‍👧 **𝒳** שלום\n\n- مرحبا\n",
};

/** Yield pseudo-random numbers below 1, the same for each seed. */
export function* numbers(seed) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** Yield beginnings of a text, each up to `longest` characters longer than the one before; the last is the whole text. */
export function* beginnings(text, random, longest) {
  for (let end = 0; end < text.length; ) {
    end = Math.min(text.length, end + 1 + Math.floor(random.next().value * longest));
    yield text.slice(0, end);
  }
}
