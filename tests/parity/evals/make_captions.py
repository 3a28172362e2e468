"""Captions for the parity of CIDEr and its tokens: ordinary ones in our own words, and odd ones. Seeded, no package."""

# ruff: noqa: E501, SIM905 (lists of words)
from __future__ import annotations

import random

WHO = """a man|a woman|two kids|three young men|a dog|the dog|an orange cat|a group of people|a little girl|an old farmer
a well-dressed couple|a T-shirt-clad boy|somebody's grandmother|a boy's best friend|several tourists|a flock of geese
four 10-year-old girls|a half-empty train|the city's No. 7 bus|a U.S. Air Force jet|Mr. Ito's bicycle|a black-and-white cow
nobody|one of the players|a skateboarder|the bride and groom|a street musician|a 1950's truck|an X-ray machine""".replace(
    "\n", "|"
).split("|")
DOES = """is sitting|is standing|are waiting|rides a bike|isn't looking|can't reach the shelf|is eating pizza|holds an umbrella
walks slowly|are playing frisbee|doesn't move|has been parked|jumps high|is selling fruit|won't get off|looks at the camera
is about to hit the ball|they're laughing|is covered in snow|cannot be seen clearly|wants to play|gonna jump|let's go
is talking on a cell phone|drives past|is tied to a post|sleeps|is reflected|smile and wave|'s tail is up""".replace(
    "\n", "|"
).split("|")
WHERE = """on a bench|in the park|next to a red car|near the ocean|at 5 p.m.|in front of St. Paul's church|on top of the fridge
beside a 12-foot wall|under the bridge|on a street corner|inside a café|in a 3/4 full glass|at the corner of 5th Ave. and Main St.
behind a fence|by the window (left)|on the plate|along the rocky, windy coast|at the zoo|in the kitchen of a restaurant
across 2 1/2 miles of sand|at 10:30 a.m.|in the '90s|by the dogs' house|in New York, NY|on a snowy mountain side""".replace(
    "\n", "|"
).split("|")
EXTRA = """ while it rains| with "STOP" written on it| -- what a view| and it's sunny| - the sky is blue| (see the sign)|; a ball lies near
 for $5.00| with 50% off signs|, 1,000 people behind|... waiting| that says 'open'| [blurred]| and a #1 jersey| with a “for sale” sign
, isn't it?|! Great fun|, e.g. a tree| in black & white| – maybe at night| that's 3.5 m tall| of the player’s team| and/or a bird
 with 20 kids' bikes| + one red kite| whose owner is gone| (or 2)| near the U.K. flag| / a lake| with a ½ eaten apple| etc.""".replace(
    "\n", "|"
).split("|")
ODD = r"""" ' `` '' ` “ ” ‘ ’ … . .. ... .... , ; : ! ? ?! - -- --- – — ( ) [ ] { } < > & &amp; / \ * + = _ ~ ^ | % # @ $ £ € ¥ ¢ °
½ ¼ 3/4 1/2 22 3.14 .5 5. 1,000 10:30 -5 +7 5'10" 12/25/2010 555-1234 1990s '90s 2nd 4x4 3D 100% $5 #1 (5) (2,5) 20°C 5pm
a.m. p.m. U.S. U.S.A. Mr. Mrs. Dr. St. Ave. No. Inc. etc. e.g. i.e. vs. Ph.D. Jr. J. a.b.c www.a.com x@y.org http://a.b/c?d
it's dog's dogs' isn't can't won't ain't cannot gonna wanna gotta lemme gimme 'tis 'twas y'all o'clock ma'am I'm you're they've
he'll she'd n't 's O'Brien d'Or rock'n'roll 'n' c'mon 'em it’s don’t dog’s café naïve Ünïcode 日本語 привет ελληνικά ñ ß İ
t-shirt black-and-white well-known e-mail a- -b x-ray and/or cat/dog a_b a.b cat,dog cat;dog cat?yes!no end.Start <b> :) AT&T
man woman dogs the on Street CAT x 7 no yes. "stop" (left) [red] 'quoted' *star* hello...world a--b a–b a…b""".split()


def ordinary(rng: random.Random) -> str:
    """One caption as an annotator might write it."""
    text = f"{rng.choice(WHO)} {rng.choice(DOES)} {rng.choice(WHERE)}"
    while rng.random() < 0.45:
        text += rng.choice(EXTRA)
    text = text.replace(" 's tail", "'s tail")
    if rng.random() < 0.8:
        text = text[0].upper() + text[1:]
    return text + rng.choice((".", ".", ".", "", " .", "!", "  "))


def odd(rng: random.Random) -> str:
    """One caption of pieces that tokenisers disagree about, with and without spaces between."""
    return "".join(rng.choice(ODD) + rng.choice((" ", " ", " ", "")) for _ in range(rng.randint(1, 9))).strip() or "."


def data_set(seed: int = 7, pictures: int = 100) -> tuple[list[str], list[list[str]]]:
    """Predictions and five references each; references of one picture share words, as real ones do."""
    rng = random.Random(seed)
    predictions, references = [], []
    for _ in range(pictures):
        who, does, where = (rng.sample(pool, 2) for pool in (WHO, DOES, WHERE))
        captions = []
        for _ in range(6):
            text = f"{rng.choice(who)} {rng.choice(does)} {rng.choice(where)}"
            if rng.random() < 0.6:
                text += rng.choice(EXTRA)
            captions.append(text.replace(" 's tail", "'s tail").capitalize() + rng.choice((".", "", " .", "!")))
        predictions.append(captions[0] if rng.random() < 0.9 else " ".join(rng.sample(ODD, 6)))
        references.append(captions[1:])
    return predictions, references


def singles(seed: int = 8, count: int = 6000) -> list[str]:
    """Captions for comparing tokens: four fifths ordinary, one fifth odd."""
    rng = random.Random(seed)
    return [odd(rng) if i % 5 == 0 else ordinary(rng) for i in range(count)]
