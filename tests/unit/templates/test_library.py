"""Names of files say what they are for, and the nearest locale is found."""

from __future__ import annotations

import pytest

from notifykit import ConfigurationError, TemplateError
from notifykit.templates import Templates
from notifykit.templates.library import _MAX_FOLDER, Library, read_folder
from tests.unit.templates.rendering import Ada, message, rendered

MAIN = "order.shipped/email.html"


def chosen(files: dict[str, str], locale: str | None, part: str = "txt") -> str | None:
    content = Library(files).content("order.shipped", "email", locale)
    return None if content is None else content.files.get(part)


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        (None, "email.txt"),
        ("fr", "email.txt"),
        ("de", "email.de.txt"),
        ("de-AT", "email.de-AT.txt"),
        ("de_at", "email.de-AT.txt"),
        ("de-CH", "email.de.txt"),
        ("zh-Hant-TW", "email.zh-Hant.txt"),
        ("zh-Hans", "email.txt"),
    ],
)
def test_the_nearest_locale_is_found(locale, expected):
    """From the narrowest to the language, and then to the file without a locale."""
    names = ["email.txt", "email.de.txt", "email.de-AT.txt", "email.zh-Hant.txt"]

    assert f"order.shipped/{expected}" == chosen({f"order.shipped/{name}": "" for name in names}, locale)


def test_a_message_is_in_one_language():
    """The text of another locale is not sent beside the HTML; a subject may be narrower, or the same for all."""
    names = ["email.de.html", "email.txt", "email.subject.txt", "email.de-AT.subject.txt"]
    files = {f"order.shipped/{name}": "" for name in names}

    assert chosen(files, "de") is None
    assert "order.shipped/email.subject.txt" == chosen(files, "de", "subject")
    assert "order.shipped/email.de-AT.subject.txt" == chosen(files, "de-AT", "subject")
    assert "order.shipped/email.txt" == chosen(files, "fr")


def test_without_a_file_for_the_locale_there_is_no_content():
    """Neither for a language that is not there, nor for another channel."""
    files = {"order.shipped/email.de.txt": "x"}

    assert chosen(files, "fr") is None
    assert Library(files).content("order.shipped", "sms", "de") is None


def test_what_is_included_has_the_locale_of_the_message():
    """A footer in German belongs to a German message."""
    files = {
        MAIN: '{% include "_partials/footer.html" %}',
        "order.shipped/email.de.html": '{% include "_partials/footer.html" %}',
        "_partials/footer.html": "Bye",
        "_partials/footer.de.html": "Tschüs",
    }
    templates = Templates(files)

    assert "Bye" == message(templates, "email").html
    assert "Tschüs" == message(templates, "email", person=Ada(locale="de-CH")).html


def test_layouts_have_blocks_that_templates_fill():
    """What a template does not fill stays as the layout has it."""
    layout = {"_layouts/mail.html": "<{% block a %}A{% endblock %}|{% block b %}B{% endblock %}>"}

    assert "<A!|B>" == rendered(
        '{% extends "_layouts/mail.html" %}{% block a %}{{ super() }}!{% endblock %}', html=True, files=layout
    )


def test_an_error_names_the_file_that_is_included():
    """The file of the locale, and the line in it."""
    partial = {"_p/a.html": "\n{{ data.nope }}", "_p/b.html": '\n\n{% include "_p/a.html" %}'}

    with pytest.raises(TemplateError, match=r"^_p/a.html, line 2: `data.nope` is undefined$"):
        rendered('{% include "_p/b.html" %}', html=True, files=partial)
    with pytest.raises(TemplateError, match=r"email.html, line 2: {% include %}: there is no file '_p/c.html'"):
        rendered('\n{% include "_p/c.html" %}', html=True)


def test_the_version_changes_with_what_a_message_is_made_of():
    """Also with what it includes, and with nothing else."""

    def version(**changed: str) -> str:
        files = {MAIN: '{% include "_p/a.html" %}', "_p/a.html": "x", "other/email.html": "y"}
        content = Library(files | changed).content("order.shipped", "email", None)
        assert content is not None
        return content.version

    assert version() == version(**{"other/email.html": "z"})
    assert len({version(), version(**{"_p/a.html": "z"}), version(**{"order.shipped/email.subject.txt": "z"})}) == 3


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("email.html", "in a folder with the name of an event type"),
        ("order shipped/email.html", "in a folder with the name of an event type"),
        ("a/b/email.html", "in a folder with the name of an event type"),
        ("order.shipped/mail.html", "begins with a channel"),
        ("order.shipped/sms.html", "the parts of sms are txt"),
        ("order.shipped/email.subject.html", "it is CHANNEL.txt"),
        ("order.shipped/email.de.at.txt", "it is CHANNEL.txt"),
        ("order.shipped/email.d.txt", "it is CHANNEL.txt"),
        ("_p/a.b.c.html", "a shared template is"),
        ("_p/a.b.html", "a shared template is"),
        ("0/0", "it ends in .txt or .html"),
        ("_p/a", "it ends in .txt or .html"),
        ("_tenants/x.html", "a tenant's template is in"),
        ("_tenants/a b/a.b/sms.txt", "a tenant's template is in"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name, rule):
    """A misspelt file would otherwise never be used."""
    with pytest.raises(TemplateError, match=f"cannot be told what it is for: .*{rule}"):
        Library({name: ""})


def test_two_files_for_the_same_are_refused():
    """The case of a locale, and the sign in it, do not matter."""
    with pytest.raises(TemplateError, match="is the same part for the same locale"):
        Library({"a.b/sms.de-AT.txt": "", "a.b/sms.de_at.txt": ""})


@pytest.mark.parametrize(("text", "problem"), [("{", "is not JSON"), ("[]", "must be a JSON object")])
def test_an_example_is_the_data_of_an_event(text, problem):
    """Nothing could be rendered from another one."""
    with pytest.raises(TemplateError, match=problem):
        Library({"a.b/example.json": text})


def test_many_locales_of_people_do_not_fill_the_memory():
    """What was found for them is forgotten at some point."""
    library = Library({"order.shipped/email.txt": "x"})
    for number in range(_MAX_FOLDER + 5):
        library.content("order.shipped", "email", f"x{number}")

    assert len(library._contents) <= _MAX_FOLDER + 1


def test_a_tenant_has_files_of_its_own():
    """They take the place of those with the same name; all others stay those of the host."""
    files = {
        MAIN: '{% include "_p/a.html" %} host',
        "_p/a.html": "logo",
        "_tenants/acme/_p/a.html": "ACME",
        "_tenants/globex/order.shipped/email.html": '{% include "_p/a.html" %} globex {{ data.nope }}',
        "_tenants/globex/order.shipped/email.de.html": "deutsch",
    }
    templates = Templates(files)

    assert ["acme", "globex"] == templates.tenants
    assert "logo host" == message(templates, "email", tenant="other").html
    assert "ACME host" == message(templates, "email", tenant="acme").html
    assert "deutsch" == message(templates, "email", tenant="globex", person=Ada(locale="de")).html
    assert "logo host" == message(templates, "email", tenant="other", person=Ada(locale="de")).html
    with pytest.raises(TemplateError, match=r"^_tenants/globex/order.shipped/email.html, line 1: `data.nope`"):
        message(templates, "email", tenant="globex")


def test_tenants_do_not_reach_the_files_of_others():
    """Neither by their path nor by their name."""
    files = {"_tenants/acme/_p/secret.html": "secret", "_tenants/globex/a.b/email.html": ""}
    for name in ("_tenants/acme/_p/secret.html", "_p/secret.html"):
        source = f'{{% include "{name}" %}}'
        templates = Templates(files | {"_tenants/globex/a.b/email.html": source})
        with pytest.raises(TemplateError, match="there is no file"):
            message(templates, "email", tenant="globex", event_type="a.b")


# -- folders ------------------------------------------------------------------------------------------


def test_a_folder_is_read_with_its_folders(tmp_path):
    """Templates and examples; what editors and systems leave there is not one."""
    for name, text in {
        "order.shipped/email.txt": "a\r\nb",
        "order.shipped/example.json": "{}",
        "_p/a.html": "ü",
        "README.md": "",
        ".git/x.html": "",
        "order.shipped/.email.txt.swp": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8", newline="")

    assert {"order.shipped/email.txt": "a\nb", "order.shipped/example.json": "{}", "_p/a.html": "ü"} == read_folder(
        tmp_path
    )


@pytest.mark.parametrize("folder", ["", "\0", "no/such/folder", "x" * 5000])
def test_what_is_no_folder_is_refused(folder):
    """An empty name is not the current folder."""
    with pytest.raises(ConfigurationError, match=r"^templates: "):
        read_folder(folder)


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch):
    """A file in place of a folder, a file that is not UTF-8, a link that leads out, and the wrong folder."""
    folder = tmp_path / "templates"
    (folder / "a.b").mkdir(parents=True)
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")

    with pytest.raises(ConfigurationError, match="is a file"):
        read_folder(outside)
    (folder / "a.b/sms.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"a.b/sms.txt is not UTF-8 at byte 1"):
        read_folder(folder)
    (folder / "a.b/sms.txt").unlink()
    (folder / "a.b/sms.txt").symlink_to(outside)
    with pytest.raises(ConfigurationError, match="leads out of the folder"):
        read_folder(folder)
    monkeypatch.setattr("notifykit.templates.library._MAX_FOLDER", 1)
    with pytest.raises(ConfigurationError, match="more than 1 files"):
        read_folder(folder)


def test_a_huge_file_is_not_read_as_a_whole(tmp_path):
    """It is refused as too large, whatever it holds."""
    (tmp_path / "a.b").mkdir()
    (tmp_path / "a.b/sms.txt").write_bytes(b"x" * 400_000 + b"\xff")

    with pytest.raises(TemplateError, match=r"a.b/sms.txt, line 1: has 262,145 characters, at most 65,536"):
        Library(read_folder(tmp_path)).content("a.b", "sms", None)
