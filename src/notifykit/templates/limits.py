"""How much one template, and one rendering, may take.

Templates may come from tenants, so each limit bounds time or memory for the worst text that can be written;
together they keep a rendering below 50 ms and 16 MB (see ADR 0026).
"""

from __future__ import annotations

from typing import Final

#: Characters of one file, and of all files that a message is made of.
MAX_SOURCE, MAX_SOURCES = 64 * 1024, 256 * 1024
#: Words and signs inside of the tags of one file, and of all files that a message is made of.
MAX_TOKENS, MAX_ALL_TOKENS = 3_000, 5_000
#: Tokens of one tag: what the compiler of templates can nest without using up the native stack.
MAX_TAG: Final = 120
#: How deep brackets may nest inside of a tag, and tags inside of tags.
MAX_NESTING: Final = 12
#: ``elif`` in one ``if``, and blocks in one file.
MAX_ELIF, MAX_BLOCKS = 32, 64
#: Files that a message may be made of, and how deep they may include each other.
MAX_FILES, MAX_DEPTH = 24, 6

#: Instructions of one rendering.
FUEL: Final = 20_000
#: Characters that one rendering may make: what is written, and what filters return.
MAX_MADE: Final = 256 * 1024
#: Steps that filters and lists may take; a lookup in a locale counts as many (see ``filters``).
MAX_STEPS: Final = 100_000
#: Text between two tags is written in pieces of so many characters, so that each costs fuel.
PIECE: Final = 256
#: Values that the data of an event may have, and the longest text in it that a template may use.
MAX_VALUES, MAX_TEXT = 10_000, 32 * 1024
#: Characters of a subject, a title or an address.
MAX_LINE: Final = 2_000
#: Tags of an HTML message, and the characters of one tag.
MAX_TAGS, MAX_TAG_LENGTH = 2_500, 2_048
#: How deep tags may nest: the inliner takes native stack for each level, of which threads may have little.
MAX_LEVELS: Final = 250
#: The style sheets of an HTML message, in characters; selectors times tags; characters times tags.
MAX_STYLES, MAX_SELECTING, MAX_STYLING = 32 * 1024, 250_000, 4_000_000
#: Characters of an HTML message when the styles are written into the tags.
MAX_HTML: Final = 512 * 1024
