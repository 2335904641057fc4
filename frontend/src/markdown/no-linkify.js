/** In place of the package linkify-it: the dialect has a rule of its own for bare addresses, which is the server's. */

export class LinkifyIt {}
