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
  "lists and quotes nested too deeply": `${"- ".repeat(12)}a\n\n${">".repeat(25)} b\n\n${"> - ".repeat(9)}c\n`,
  "loose and tight": "- a\n- b\n\n- c\n\n\n- d\n   e\n",
  "blank lines only": "\n\n \n\t\n",
  "nothing": "",
  "formulas in parentheses": "Die Formel \\(a_1 \\\\ b_2\\) und \\(x*y*z\\), \\[ x = \\frac{1}{2} \\] und \\\\(kein\\\\).",
  "formulas in dollars": "$a*b*c$ und $x_1$, $$y_2 = \\{z_3\\}$$ und `$no_t_this$` $\\alpha$是 ($n$)",
  "a formula on lines of its own": "text:\n$$\na &= b \\\\\n+ c_1\n= d_2\n$$\nmore\n\n\\[\nx\n=\ny\n\\].\n\n# h\n",
  "a formula in a list": "1. First:\n   \\[\n   x = 1\n   + 2\n   \\]\n   after\n2. Second:\n\\[\ny\n\\]\n3. Third $z_1$\n\n- a\n\n  $$b_1$$\n",
  "a formula in a quote": "> text\n> $$\n> a_1\n> - b_2\n> $$\n> more\n",
  "a formula in a table": "| a | b |\n|---|---|\n| \\(|x|\\) | $a|b$ |\n| `\\(` | \\(p \\| q\\) |\n| $$ | $$$ |\n| $$ | $$ |\n",
  "a formula that nobody closes": "a \\(x_1_ and\n\n$$\ny_2_\n\n\\[\n\n\\] $ $$ \\( \\)",
  "a formula between blank lines": "$$\n\nx\n\n$$\n",
  "a formula in code": "```\n\\(a\\)\n$$\nb\n$$\n```\n\n    $$c$$\n\n`` \\[d\\] ``",
  "a formula in emphasis": "**\\(a**b\\)** *$x*y$* [\\(l]\\)](https://e.example) # \\(h\\)\n\n## \\(h_1\\) _and_ $h_2$",
  "prices": "It is $5 and $10, or 5$ to 6$; US$5, $1,000–$2,000, $5 and 10$, $$ to $$$, $$ or $$, $20k/$30k. ($5) **$5** $5/kg. \\$5 and \\$6",
  "variables of a shell": "Set $HOME/$USER, $PATH and $a-$b; $1, $2 and ${x}",
  "line breaks": "a<br>b<br/>c<BR />d<br >\ne\n<br>\nf `<br>` \\<br> <bra>\n\n| a |\n|---|\n| 1<br>2<br/>3 |\n\n<br>\n\n- x<br>y\n",
  "bold next to CJK punctuation": "これは**「重要」**な点。\n\n**注意：**正文\n\n**A（えー）**は **“引号”**后 他说：**“是”**。**한국어(Korean)**은 **『強調』**だ、**Note：**text",
  "bold next to ASCII punctuation in CJK": "これは**\"重要\"**な点 **100%**です *（a）*b ~~（x）~~は ***「a」***b **a**は__「b」__は 中**文**字",
  "emphasis in Latin text": "a**\"b\"**c **(d)**e *(f)* _g_h ***i** j* **k *l*** *m **n** o* **p*q** ~~r~~s ~t~ ~~~u~~~ *_v_* 👍**w**👍 **👍**x",
  "bare addresses": "See https://e.example/path. (https://e.example/a_(b)), https://e.example/中，und. www.e.example! **https://e.example** http://localhost:8000/x?a=1&b=2#c; https://e.example/_a_b_ *https://e.example/c*",
  "bare addresses in CJK": "请看https://e.example/x。访问https://e.example查看「https://e.example/a」、https://zh.example/wiki/数学。https://例え.jp/パス！ www.e.example。",
  "addresses that are none": "https:// www. http://. xhttps://e.example awww.e.example `https://e.example` [https://e.example](https://f.example) [see https://e.example/x](https://f.example) <https://e.example/y> ftp://e.example",
  "an address at each place": "| a |\n|---|\n| https://e.example/a|b |\n\n- https://e.example/c\n\n> www.e.example/d\n\n# https://e.example/e\nhttps://[::1]:8000/f http://e.example:8000/?q=[x]&r={y} \"https://e.example/g\" 'https://e.example/h' https://e.example/i…",
  "task lists": "- [x] done\n- [ ] open\n- [X] **bold**\n  - [ ] nested\n    1. [x] deeper\n- [y] none\n- [x]none\n- [ ]\n\ntext\n\n* [x] loose\n\n* [ ] items\n",
  "footnotes": "A[^1] b[^note] c[^none] d[^2].\n\n[^1]: First *note*.\n[^note]: Second https://e.example\n  goes on\n\ntext[^1][^1] [^](x) [^3]: y",
  "a footnote before its use": "[^a]: note\n\n- item[^a]\n- [^b]\n\n> quote[^a]\n\n| t[^a] |\n|---|\n| x[^9] |\n\n[^b]: last\n",
  "a footnote that looks like a link": "[^1]: https://e.example/x\n\nSee [^1], [^1](https://e.example/y), [l[^1]](https://e.example/z) and [^0-9].\n",
  "escapes and references": "\\*a\\* \\_ \\& \\&copy; &copy; &#65; &notit; &semi; &NotEqualTilde; [e](https://e.example/?a=1&amp;b=2 \"&quot;\") \\[x\\](y) \\a \\",
  "links in detail": "[a *b* `c]`](https://e.example 'it\\'s') [d](<https://e.example/x y>) [m](https://e.example/(n)) [o][p] [q [r](https://e.example/s)](https://e.example/t) ![i [j](https://e.example/k)](https://e.example/l)\n\n[p]: https://e.example/u",
  "code in detail": "``a ` b`` ` c ` `  ` `d\ne` `f ``g` ``h",
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
