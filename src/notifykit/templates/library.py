"""The files of templates: what their names mean, which locales there are, and what belongs together.

Names are ``TYPE/CHANNEL[.LOCALE][.PART].EXT``, with ``digest.NAME`` in place of the type for what a digest has
collected.  Folders that begin with an underscore hold what others include; below ``_tenants/NAME/`` a tenant has files
of its own in place of those with the same name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs

from ..errors import ConfigurationError, TemplateError
from ..models.checks import TENANT_GRAMMAR
from .engine import Engine, Places
from .filters import FILTERS
from .limits import MAX_ALL_TOKENS, MAX_DEPTH, MAX_FILES, MAX_SOURCE, MAX_SOURCES
from .rendering import Rendering
from .syntax import Checked, Place, check

#: The parts of each channel's messages: file endings for what they say, and words for what stands beside it.
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "email": ("html", "txt", "subject", "unsubscribe"),
    "in_app": ("txt", "title", "url"),
    "push": ("txt", "title", "url"),
    "sms": ("txt",),
    "chat": ("txt",),
}
#: Without one of these there is no message.
CONTENT: Final = ("html", "txt", "title")
EXAMPLE: Final = "example.json"
_TENANTS: Final = "_tenants/"

#: The name of an event type, or of a digest.
_TYPE = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*|digest\.[A-Za-z0-9_.:@-]+")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
#: Files of a folder beyond it are a mistake: the folder is probably the root of a disk.
_MAX_FOLDER: Final = 10_000
_FILTERS: Final = frozenset(FILTERS)


def locale_key(locale: str) -> str:
    """Return a locale in the form in which locales are compared: ``de_AT`` is ``de-at``."""
    return locale.replace("_", "-").lower()


def chain(locale: str | None) -> Iterator[str]:
    """Yield the locales to look for, the best first: ``de-at``, ``de``, and the empty one of files without a locale."""
    parts = locale_key(locale).split("-") if locale else []
    for count in range(len(parts), -1, -1):
        yield "-".join(parts[:count])


def read_folder(folder: str | Path) -> dict[str, str]:
    """Return the templates and examples of a folder by their names in it.

    Raises:
        ConfigurationError: There is no such folder, or a file cannot be read.
    """
    root = Path(folder)
    shown = repr(str(folder)[:200])
    try:
        if not str(folder) or not root.is_dir():
            what = "a file" if str(folder) and root.exists() else "not there"
            raise ConfigurationError(f"templates: {shown} is {what}; give a folder")
        paths = list(islice(root.rglob("*"), _MAX_FOLDER + 1))
        if len(paths) > _MAX_FOLDER:
            raise ConfigurationError(f"templates: {shown} has more than {_MAX_FOLDER:,} files")
        names = {path.relative_to(root).as_posix(): path for path in sorted(paths) if _is_template(path)}
        return {name: _read(root, path, name) for name, path in names.items() if "/." not in f"/{name}"}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"templates: {shown} cannot be read: {error}") from error


def _is_template(path: Path) -> bool:
    return (path.suffix in (".html", ".txt") or path.name == EXAMPLE) and path.is_file()


def _read(root: Path, path: Path, name: str) -> str:
    if not path.resolve().is_relative_to(root.resolve()):
        raise ConfigurationError(f"templates: {name} leads out of the folder")
    with path.open("rb") as file:
        content = file.read(4 * MAX_SOURCE + 1)  # a larger one has too many characters in any encoding
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        if len(content) > 4 * MAX_SOURCE:
            return content.decode(errors="replace")
        raise ConfigurationError(f"templates: {name} is not UTF-8 at byte {error.start + 1}") from error


@attrs.frozen(kw_only=True, eq=False)
class Content:
    """What a message is made of, for one locale.

    Attributes:
        locale: Of the file that says most; empty for one without a locale.
        files: The file of each part.
        version: A digest of these files, and of what they include.
        uses: The names of the variables that they use.
    """

    locale: str
    files: Mapping[str, str]
    version: str
    uses: frozenset[str]


class Library:
    """Templates by type, channel, part and locale.

    Args:
        files: The templates by name, as :func:`read_folder` returns them.
        tenant: Whose files are used in place of those of the host.

    Attributes:
        parts: By type and channel the files of each part by locale.
        examples: The payloads of the examples by type.
        own_files: Those of the tenant.

    Raises:
        TemplateError: A file has no name of a template, or an example is not a JSON object.
    """

    def __init__(self, files: Mapping[str, str], tenant: str | None = None) -> None:
        self.files = files
        #: The file that is used for a name: the tenant's, or the host's.
        self._paths = {name: path for owner, name, path in map(_owned, files) if owner is None}
        own = {name: path for owner, name, path in map(_owned, files) if owner is not None and owner == tenant}
        self.own_files = sorted(own.values())
        self._paths |= own
        self.parts: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
        self.examples: dict[str, Mapping[str, Any]] = {}
        self._shared: dict[tuple[str, str], str] = {}  # by name without its locale, and locale
        self._places = Places()
        self._checked: dict[str, Checked] = {}
        self._engines: dict[str, Engine] = {}
        self._contents: dict[tuple[str, str, str], Content | None] = {}
        for name, path in self._paths.items():
            self._file(name, path)
        #: What the tenant has files of its own for; all that there is for the host.
        self.own = sorted(key for key in self.parts if tenant is None or self._paths_of(key) & set(own.values()))

    # -- names -----------------------------------------------------------------------------------

    def _paths_of(self, key: tuple[str, str]) -> set[str]:
        return {path for by_locale in self.parts[key].values() for path in by_locale.values()}

    def _file(self, name: str, path: str) -> None:
        folder, _, file = name.rpartition("/")
        if "." not in file:
            raise _misnamed(path, "it ends in .txt or .html")
        if folder.startswith("_"):
            stem, *locale, ending = file.split(".")
            if len(locale) > 1 or (locale and not _LOCALE.fullmatch(locale[0])):
                raise _misnamed(path, "a shared template is NAME.html, NAME.LOCALE.html, or the same with .txt")
            self._shared[f"{folder}/{stem}.{ending}", locale_key("".join(locale))] = path
        elif not _TYPE.fullmatch(folder):
            raise _misnamed(path, "a template is in a folder with the name of an event type, a shared one in _NAME")
        elif file == EXAMPLE:
            self.examples[folder] = _example(path, self.files[path])
        else:
            channel, locale_, part = _parsed(path, file)
            by_locale = self.parts.setdefault((folder, channel), {}).setdefault(part, {})
            if locale_ in by_locale:
                raise _misnamed(path, f"{by_locale[locale_]} is the same part for the same locale")
            by_locale[locale_] = path

    def locales(self) -> list[str]:
        """Return the locales that there are templates for; files without a locale count as none."""
        found = {locale for parts in self.parts.values() for by_locale in parts.values() for locale in by_locale}
        return sorted(found - {""})

    def _resolve(self, name: str, locale: str) -> str | None:
        """Return the file behind a name that is included."""
        for each in chain(locale):
            if (file := self._shared.get((name, each))) is not None:
                return file
        return self._paths.get(name)

    # -- contents --------------------------------------------------------------------------------

    def content(self, event_type: str, channel: str, locale: str | None) -> Content | None:
        """Return what a message is made of for a locale, or ``None``.

        Raises:
            TemplateError: One of its files cannot be used.
        """
        key = (event_type, channel, locale_key(locale or ""))
        if key not in self._contents:
            content = self._content(event_type, channel, key[2])
            if len(self._contents) > _MAX_FOLDER:
                self._contents.clear()  # locales come from people, so there may be any number
            self._contents[key] = content
        return self._contents[key]

    def _content(self, event_type: str, channel: str, locale: str) -> Content | None:
        parts = self.parts.get((event_type, channel), {})
        locales = list(chain(locale))
        of_locale = next((each for each in locales if any(each in parts.get(part, {}) for part in CONTENT)), None)
        if of_locale is None:
            return None
        files = {}
        for part, by_locale in parts.items():
            # What it says is in one language; a subject may be given for a narrower locale, or for all.
            accepted = [of_locale] if part in ("html", "txt") else locales
            if (found := next((each for each in accepted if each in by_locale), None)) is not None:
                files[part] = by_locale[found]
        used = sorted(self._closure(files.values(), of_locale))
        digest = sha256("\0".join(part for file in used for part in (file, self.files[file])).encode())
        names = frozenset(name.partition(".")[0] for file in used for name in self.variables(file))
        if any("|relative" in self.checked(file).source.replace(" ", "") for file in used):
            names |= {"now"}
        return Content(locale=of_locale, files=files, version=digest.hexdigest()[:12], uses=names)

    def variables(self, file: str) -> set[str]:
        """Return the variables that a file uses and does not set itself: ``to``, ``data.order_id``."""
        return self._engine("").variables(file)

    def _closure(self, files: Iterable[str], locale: str) -> set[str]:
        """Return files, and everything that they include.

        Raises:
            TemplateError: One is missing, includes itself, or they are too large together.
        """
        found: set[str] = set()
        characters = tokens = 0

        def visit(file: str, path: tuple[str, ...]) -> None:
            nonlocal characters, tokens
            found.add(file)
            checked = self.checked(file)
            characters += len(self.files[file])
            tokens += checked.tokens
            if characters > MAX_SOURCES or tokens > MAX_ALL_TOKENS or len(found) > MAX_FILES:
                what = f"{MAX_SOURCES:,} characters, {MAX_ALL_TOKENS:,} words and signs in tags, or {MAX_FILES} files"
                raise Place(file, 1).error(f"all files of the message have more than {what}")
            for name, place in checked.uses:
                used = self._resolve(name, locale)
                if used is None:
                    raise place.error(f"there is no file {name!r}")
                if used in (*path, file):
                    raise place.error(f"{used} includes itself")
                if len(path) == MAX_DEPTH:
                    raise place.error(f"templates include each other more than {MAX_DEPTH} deep")
                if used not in found:
                    visit(used, (*path, file))

        for file in files:
            visit(file, ())
        return found

    def checked(self, file: str) -> Checked:
        """Return a file in the form in which it is compiled.

        Raises:
            TemplateError: It is not in the subset of templates.
        """
        if (checked := self._checked.get(file)) is None:
            checked = check(self.files[file], file, filters=_FILTERS, place=self._places.add)
            self._checked[file] = checked
        return checked

    def render(self, file: str, locale: str, rendering: Rendering, values: Mapping[str, Any]) -> str:
        """Return what a file makes of ``values``; see :meth:`Engine.render`."""
        return self._engine(locale).render(file, rendering, values)

    def _engine(self, locale: str) -> Engine:
        engine = self._engines.get(locale)
        if engine is None:
            engine = self._engines[locale] = Engine(
                lambda name: self.checked(self._resolve(name, locale) or name).source,
                lambda name: self._resolve(name, locale) or name,
                self._places,
            )
        return engine


def tenants_of(files: Mapping[str, str]) -> list[str]:
    """Return the tenants that have files of their own."""
    return sorted({owner for owner, _, _ in map(_owned, files) if owner is not None})


def own_name(tenant: str, name: str) -> str:
    """Return the name of a tenant's own file in place of the one that is called ``name``."""
    return f"{_TENANTS}{tenant}/{name}"


def _owned(path: str) -> tuple[str | None, str, str]:
    """Return whose file this is (``None``: the host's), the name that it is used for, and its own."""
    if not path.startswith(_TENANTS):
        return None, path, path
    tenant, _, name = path.removeprefix(_TENANTS).partition("/")
    if not name or not re.fullmatch(TENANT_GRAMMAR, tenant):
        raise _misnamed(path, f"a tenant's template is in {_TENANTS}TENANT/TYPE/")
    return tenant, name, path


def _parsed(name: str, file: str) -> tuple[str, str, str]:
    """Return channel, locale and part of a file of a type."""
    channel, *middle, ending = file.split(".")
    if channel not in PARTS:
        raise _misnamed(name, f"it begins with a channel: {', '.join(PARTS)}")
    part = middle.pop() if middle and middle[-1] in PARTS[channel] and ending == "txt" else ending
    if part not in PARTS[channel]:
        raise _misnamed(name, f"the parts of {channel} are {', '.join(PARTS[channel])}")
    if len(middle) > 1 or (middle and not _LOCALE.fullmatch(middle[0])):
        raise _misnamed(name, "it is CHANNEL.txt, CHANNEL.LOCALE.txt, CHANNEL.PART.txt or CHANNEL.LOCALE.PART.txt")
    return channel, locale_key("".join(middle)), part


def _misnamed(name: str, rule: str) -> TemplateError:
    return Place(name, 1).error(f"cannot be told what it is for: {rule}")


def _example(name: str, text: str) -> Mapping[str, Any]:
    try:
        example = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Place(name, getattr(error, "lineno", 1)).error(f"is not JSON: {error}") from error
    if not isinstance(example, dict):
        raise Place(name, 1).error("must be a JSON object: the data of an event")
    return example
