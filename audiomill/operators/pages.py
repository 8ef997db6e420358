"""The login page of the guard: one form, no script, nothing loaded from elsewhere. Nobody is let in here."""

from html import escape

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; background: #f4f4f6; color: #1d1d24; margin: 0; }
main { max-width: 26rem; margin: 16vh auto 0; padding: 2rem; background: #fff; border-radius: .75rem;
       box-shadow: 0 1px 6px #0002; }
h1 { font-size: 1.25rem; margin: 0 0 .5rem; }
p { margin: 0 0 1rem; color: #55555f; }
p.wrong { color: #b3261e; }
label { display: block; font-weight: 600; margin-bottom: .25rem; }
input { width: 100%; box-sizing: border-box; padding: .6rem; font: inherit; border: 1px solid #b9b9c3;
        border-radius: .4rem; }
button { margin-top: 1rem; width: 100%; padding: .65rem; font: inherit; font-weight: 600; color: #fff;
         background: #4338ca; border: 0; border-radius: .4rem; cursor: pointer; }
code { background: #eeeef2; padding: .1rem .3rem; border-radius: .25rem; }
@media (prefers-color-scheme: dark) {
  body { background: #17171c; color: #ececf1; } main { background: #222229; } p { color: #b5b5c0; }
  p.wrong { color: #ff8a80; } code { background: #33333c; }
  input { background: #17171c; color: inherit; border-color: #55555f; }
}
"""


def login_page(wanted: str, wrong: str | None = None) -> bytes:
    """The form; `wanted` is the path to go to afterwards, `wrong` why the last try did not let in."""
    remark = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    return _page(
        "<h1>Dagster of this audiomill</h1>"
        "<p>Operators only. <code>audiomill keys operator</code> on the machine prints the key, and a link that "
        "logs in by itself. A login holds for twelve hours; <code>/logout</code> ends it before.</p>"
        f"{remark}"
        '<form method="post" action="/login">'
        '<label for="key">Operator key</label>'
        '<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>'
        f'<input name="next" type="hidden" value="{escape(wanted)}">'
        '<button type="submit">Log in</button></form>'
    )


def logout_page() -> bytes:
    """Asks; only the form logs out, so that no link of another site does."""
    return _page(
        "<h1>Log out of Dagster</h1>"
        "<p>This ends your login in this browser.</p>"
        '<form method="post" action="/logout"><button type="submit">Log out</button></form>'
    )


def going_on(wanted: str) -> bytes:
    """A page that leads on. A redirect would not do: from another site's link, it would not carry a strict cookie."""
    target = escape(wanted)
    return _page(
        f'<h1>Welcome</h1><p><a href="{target}">Go on</a></p>', f'<meta http-equiv="refresh" content="0;url={target}">'
    )


def _page(body: str, head: str = "") -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>audiomill: operators</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{head}<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    ).encode()
