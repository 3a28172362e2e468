"""Pages of a telephone's programs: our own HTML around real widgets, filled with real texts, drawings, photographs.

What a page says of itself is true of it by construction: ``<meta name="description">`` its purpose in a phrase (or
several, as screen2words has), ``aria-label`` of a control what it does, of an icon its name.
"""

from __future__ import annotations

import html
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mm15.build._screen_kit import SIZES, Kit, theme
from mm15.build.materials import Materials, Split

PEOPLE = ("Ada", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kira", "Luca", "Mina")
SETTINGS = (
    ("wifi", "Wi-Fi"), ("bluetooth", "Bluetooth"), ("notification", "Notifications"), ("volume", "Sound"),
    ("light", "Brightness"), ("moon", "Dark mode"), ("lock", "Screen lock"), ("battery", "Battery saver"),
    ("location", "Location"), ("globe", "Language"), ("cloud", "Backup"), ("camera", "Camera access"),
    ("microphone", "Microphone"), ("download", "Automatic updates"), ("eye", "Read receipts"), ("mail", "Mail alerts"),
)  # fmt: skip


def _rows(rows: Sequence[str], look: str = "list") -> str:
    return f'<div class="{look}">{"".join(rows)}</div>'


Made = tuple[str, tuple[str, ...], str]
"""Title, what the page is for in a phrase or several, and its body."""


def _settings(kit: Kit) -> Made:
    title = kit.rng.choice(("Settings", "Preferences", "Device", "Options"))
    rows = [
        f'<div class="row">{kit.icon(icon)}<span class="grow">{label}</span>{kit.control(label)}</div>'
        for icon, label in kit.rng.sample(SETTINGS, kit.rng.randint(5, 9))
    ]
    body = kit.header(title, "back", kit.mark("search", "search the settings")) + f"<main>{_rows(rows)}</main>"
    return title, ("page of settings", f"list of options of the {title.lower()} page"), body


def _login(kit: Kit) -> Made:
    name = kit.title(1, 1)
    subject = kit.rng.choice(kit.materials.names)
    body = (
        f'<main class="center" style="justify-content:center">{kit.thing(subject, "thing")}<h1>{name}</h1>'
        f'<p class="muted">Sign in to continue</p>'
        '<input class="field" type="email" placeholder="E-mail address" aria-label="enter your e-mail address">'
        '<input class="field" type="password" placeholder="Password" aria-label="enter your password">'
        f'<label class="row"><input type="checkbox" {kit.on()} aria-label="stay signed in"> '
        "<span>Remember me</span></label>"
        '<button class="main" aria-label="sign in to the account">Sign in</button>'
        '<a href="#forgot">Forgot password?</a>'
        f'<div class="row"><span class="muted">New here?</span>'
        '<button class="plain" aria-label="make a new account">Create account</button></div></main>'
    )
    return f"{name} - sign in", ("login page of an app", "page to sign in with e-mail and password"), body


def _inbox(kit: Kit) -> Made:
    rows = []
    for person in kit.rng.sample(PEOPLE, kit.rng.randint(4, 6)):
        face = kit.thing(kit.rng.choice(kit.materials.names), "face")
        time = f"{kit.rng.randint(0, 23):02}:{kit.rng.randint(0, 59):02}"
        rows.append(
            f'<div class="row" style="cursor:pointer">{face}<div class="grow"><h3>{person}</h3>'
            f'<p class="muted">{kit.title(2, 3)}</p></div><span class="muted">{time}</span></div>'
        )
    search = '<input class="field" type="search" placeholder="Search messages" aria-label="search the messages">'
    body = (
        kit.header("Messages", "menu", kit.mark("filter", "filter the messages"))
        + f"<main>{search}{_rows(rows)}</main>{kit.mark('edit', 'write a new message', 'round float')}{kit.bar()}"
    )
    return "Messages", ("list of messages", "inbox of a messaging app with the senders' names"), body


def _article(kit: Kit) -> Made:
    title = kit.title(2, 3)
    paragraphs = "".join(f"<p>{kit.prose(220)}</p>" for _ in range(kit.rng.randint(1, 3)))
    body = (
        kit.header("News", "back", kit.mark("share", "share the article"), kit.mark("bookmark", "keep the article"))
        + f'<main><h2>{title}</h2><span class="muted">By {kit.rng.choice(PEOPLE)}, {kit.rng.randint(2, 14)} min read'
        + f'</span>{kit.photo(340, 150, "wide")}{paragraphs}<div class="row">'
        + '<button class="plain" aria-label="follow the author">Follow</button>'
        + kit.mark("favorite", "like the article")
        + kit.mark("message", "read the comments")
        + "</div></main>"
    )
    return title, ("page of a news article", "an article with a photo and its text"), body


def _shop(kit: Kit) -> Made:
    cards = []
    for name in kit.rng.sample(kit.materials.names, 4):
        price = f"${kit.rng.randint(1, 90)}.{kit.rng.choice(('00', '50', '99'))}"
        cards.append(
            f'<div class="card stack">{kit.thing(name, "thing")}<h3>{name.capitalize()}</h3><div class="row between">'
            f'<span>{price}</span><button class="main" aria-label="put the {name} into the cart">Add</button>'
            "</div></div>"
        )
    chips = "".join(f'<button class="chip">{word.capitalize()}</button>' for word in kit.rng.sample(kit.words, 3))
    body = (
        kit.header("Shop", "menu", kit.mark("search", "search for products"), kit.mark("cart", "open the cart"))
        + f'<main><div class="row">{chips}{kit.mark("sort", "sort the products")}</div>{_rows(cards, "grid")}</main>'
        + kit.bar()
    )
    return "Shop", ("shopping app showing products with their prices", "page of products to buy"), body


def _player(kit: Kit) -> Made:
    song, person = kit.title(1, 2), kit.rng.choice(PEOPLE)
    at, length = sorted(kit.rng.sample(range(10, 360), 2))
    clock = [f"{seconds // 60}:{seconds % 60:02}" for seconds in (at, length)]
    keys = "".join(
        kit.mark(icon, does, "big")
        for icon, does in (
            ("shuffle", "play the songs in random order"),
            ("previous", "go to the previous song"),
            kit.rng.choice((("play", "play the song"), ("pause", "stop the song for a while"))),
            ("next", "go to the next song"),
            ("repeat", "play the song again"),
        )
    )
    body = (
        kit.header("Now playing", "back", kit.mark("more", "show more options"))
        + f'<main class="center">{kit.photo(220, 200, "cover", "cover")}<h2>{song}</h2><p class="muted">{person}</p>'
        + f'<div class="row" style="width:100%"><span class="muted">{clock[0]}</span><input class="grow" type="range" '
        + f'max="{length}" value="{at}" aria-label="move within the song"><span class="muted">{clock[1]}</span></div>'
        + f'<div class="row">{keys}</div><div class="row">{kit.icon("volume")}<input type="range" '
        + f'value="{kit.rng.randint(5, 95)}" aria-label="change the volume">{kit.mark("favorite", "like the song")}'
        + "</div></main>"
    )
    return song, ("music player playing a song", "page of a song with its cover and playback controls"), body


def _todo(kit: Kit) -> Made:
    tasks = [
        f'<label class="row"><input type="checkbox" {kit.on()} aria-label="mark the task as done">'
        f"<span>{kit.title(2, 3)}</span></label>"
        for _ in range(kit.rng.randint(4, 7))
    ]
    chosen = kit.rng.randrange(3)
    tabs = "".join(
        f'<button class="tab" role="tab" aria-selected="{str(k == chosen).lower()}">{label}</button>'
        for k, label in enumerate(("All", "Open", "Done"))
    )
    body = (
        kit.header("Tasks", "menu", kit.mark("calendar", "open the calendar"))
        + f'<main><div class="tabs" role="tablist">{tabs}</div><div class="row"><input class="field grow" type="text" '
        + 'placeholder="New task" aria-label="write a new task"><button class="main" aria-label="add the new task">Add'
        + f"</button></div>{_rows(tasks)}<span class='muted'>Progress</span>"
        + f'<progress max="100" value="{kit.rng.randint(5, 95)}" aria-label="share of tasks that are done"></progress>'
        + "</main>"
    )
    return "Tasks", ("list of tasks with checkboxes", "to-do list of an app for tasks"), body


def _checkout(kit: Kit) -> Made:
    ways = kit.rng.sample(("Standard", "Express", "Pick up", "Locker"), 3)
    radios = [
        f'<label class="row"><input type="radio" name="way" {"checked" if k == 0 else ""} '
        f'aria-label="choose this way of delivery"><span class="grow">{way}</span></label>'
        for k, way in enumerate(ways)
    ]
    cities = "".join(f"<option>{kit.title(1, 1)}" for _ in range(3))
    total = f"${kit.rng.randint(10, 400)}.{kit.rng.randint(10, 99)}"
    body = (
        kit.header("Checkout", "back", kit.mark("help", "get help"))
        + '<main><input class="field" type="text" placeholder="Full name" aria-label="enter your full name">'
        + '<input class="field" type="tel" placeholder="Phone number" aria-label="enter your phone number">'
        + f'<select class="drop" aria-label="choose a city">{cities}</select>'
        + f'<h3>Delivery</h3>{_rows(radios)}<div class="row between"><span>Total</span><span>{total}</span></div>'
        + '<button class="main" aria-label="pay for the order">Pay now</button></main>'
    )
    return "Checkout", ("page to pay for an order", "checkout form with delivery options and the total"), body


def _dialog(kit: Kit) -> Made:
    _, _, below = kit.rng.choice((_settings, _inbox, _shop))(kit)
    ask, yes = kit.rng.choice(
        (("Delete this item?", "Delete"), ("Leave without saving?", "Leave"), ("Sign out?", "Sign out"))
    )
    body = (
        f'{below}<div class="veil"><div class="dialog" role="dialog"><h2>{ask}</h2><p>{kit.prose(90)}</p>'
        f'<div class="row end"><button class="bare" aria-label="close without a change">Cancel</button>'
        f'<button class="main" aria-label="confirm">{yes}</button></div></div></div>'
    )
    return ask, ("pop-up asking for confirmation", f"dialog that asks: {ask.lower().rstrip('?')}"), body


def _table(kit: Kit) -> Made:
    table = kit.rng.choice(kit.materials.tables(kit.split))
    wide = min(3, len(table.columns))
    first = kit.rng.randint(0, max(0, len(table.rows) - 8))
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns[:wide])
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row[:wide])}</tr>"
        for row in table.rows[first : first + 8]
    )
    body = (
        kit.header(
            "Data", "back", kit.mark("download", "download the table"), kit.mark("refresh", "load the table again")
        )
        + f"<main><h2>{html.escape(table.name.capitalize())}</h2><table><thead><tr>{head}</tr></thead>"
        + f'<tbody>{rows}</tbody></table><div class="row end">'
        + '<button class="plain" aria-label="show the rows before these">Previous</button>'
        + '<button class="main" aria-label="show the rows after these">Next</button></div></main>'
    )
    return table.name, (f"table of {table.name}", "page with a table of data"), body


def _profile(kit: Kit) -> Made:
    person = kit.rng.choice(PEOPLE)
    counts = "".join(
        f'<div class="stack center grow" style="gap:0"><h3>{kit.rng.randint(1, 999)}</h3>'
        f'<span class="muted">{what}</span></div>'
        for what in ("Posts", "Followers", "Following")
    )
    photos = "".join(kit.photo(120, 96, "tile") for _ in range(6))
    face = kit.thing(kit.rng.choice(kit.materials.names), "face")
    body = (
        kit.header(
            person, "back", kit.mark("notification", "show the notifications"), kit.mark("more", "show more options")
        )
        + f'<main><div class="row">{face}{counts}</div><p>{kit.prose(100)}</p><div class="row">'
        + f'<button class="main grow" aria-label="follow {person}">Follow</button>'
        + f'<button class="plain grow" aria-label="write to {person}">Message</button></div>'
        + f'<div class="thirds">{photos}</div></main>{kit.bar()}'
    )
    return person, ("profile page of a user", "profile of a person with photos and numbers of followers"), body


def _weather(kit: Kit) -> Made:
    place = kit.title(1, 1)
    days = [
        f'<div class="row"><span class="grow">{day}</span>{kit.icon(kit.rng.choice(("sun", "cloud", "rain", "snow")))}'
        f"<span>{kit.rng.randint(-9, 34)} C</span></div>"
        for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    ]
    body = (
        kit.header(place, "menu", kit.mark("location", "use my location"), kit.mark("add", "add a place"))
        + f'<main class="center"><h2>{kit.rng.randint(-9, 34)} C now</h2>'
        + f'<p class="muted">Humidity {kit.rng.randint(20, 99)} %</p>'
        + f'<progress max="100" value="{kit.rng.randint(5, 95)}" aria-label="chance of rain"></progress>'
        + f'<div style="width:100%">{_rows(days)}</div><label class="row"><span>Celsius</span>'
        + f'<input type="checkbox" role="switch" {kit.on()} aria-label="switch the unit of temperature"></label></main>'
    )
    return place, ("weather of the week at a place", "forecast of a weather app"), body


KINDS: dict[str, Callable[[Kit], Made]] = {
    "settings": _settings,
    "login": _login,
    "inbox": _inbox,
    "article": _article,
    "shop": _shop,
    "player": _player,
    "todo": _todo,
    "checkout": _checkout,
    "dialog": _dialog,
    "table": _table,
    "profile": _profile,
    "weather": _weather,
}
"""Kind of page → how it is made; pages take them in turn."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page to open, and the window it is made for."""

    kind: str
    html: str
    width: int
    height: int


def make_page(
    materials: Materials, split: Split, index: int, rng: random.Random, windows: Sequence[tuple[int, int]] = SIZES
) -> Page:
    """Page ``index``: kinds come in turn, all else is drawn."""
    kind = list(KINDS)[index % len(KINDS)]
    icon_set = rng.choice(materials.icon_files(split))
    kit = Kit(materials, split, rng, materials.icons(icon_set))
    width, height = rng.choice(windows)
    title, summaries, body = KINDS[kind](kit)
    head = [f"<title>{html.escape(title)}</title>", f"<style>{theme(materials, split, rng)}</style>"]
    head += [f'<meta name="description" content="{html.escape(summary)}">' for summary in summaries]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8">{"".join(head)}<body>{body}</body></html>'
    return Page(kind, page, width, height)
