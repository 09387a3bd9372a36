"""General words of coaching: the body, technique, movement, manner; and whether a sentence gives an
order.

Written from general knowledge of many sports, not from any data set's phrases. Two stages read it:
01 to tell instruction from other talk, 02 to tell an order from a description of a mistake.
"""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """A set of words from text, so that a list of them can be read and edited as text."""
    return frozenset(text.split())


BODY = words(
    """head neck chin jaw eye eyes gaze nose face shoulder shoulders shoulderblades arm arms armpit armpits elbow
    elbows forearm forearms wrist wrists hand hands palm palms finger fingers fingertips thumb thumbs knuckle
    knuckles fist fists chest sternum rib ribs ribcage core abs stomach belly navel torso trunk spine back lats hip
    hips pelvis waist glute glutes butt bum seat groin leg legs thigh thighs quad quads hamstring hamstrings knee
    knees shin shins calf calves ankle ankles foot feet heel heels toe toes sole soles instep laces body bodyweight
    weight muscle muscles limb limbs upper lower spine breath breathing posture stance grip"""
)
TECHNIQUE = words(
    """ball racket racquet bat club clubface putter iron driver stick puck board deck ski skis skate skates edge edges
    pole poles paddle oar blade bar barbell dumbbell kettlebell plates rope saddle pedal pedals handlebars bow arrow
    string sword foil rod net rim hoop target floor ground mat wall box beam rail wave water hill slope track lane
    runway court pitch bottom top swing backswing downswing backlift stroke serve toss throw pass shot strike kick
    punch jab hook cross block guard jump landing takeoff stride strides rep reps squat lunge plank press pull
    rotation turn turns spin angle angles degrees position form technique balance momentum power leverage tension
    tempo rhythm timing release contact impact catch recovery finish follow-through followthrough setup range
    extension alignment line path plane arc axis centre center gravity phase movement motion opponent partner"""
)
MOVES = words(
    """absorb accelerate aim align anchor arch bend bounce brace break breathe bring brush carry catch chop clear climb
    close coil collapse come control cross crouch curl cut cock dig dip dive draw drag drift drive drop duck engage
    explode exhale extend face fall feel flare flex flick flip float fold follow flatten glide grab grip guide hang
    hinge hit hold hop hug inhale jump keep kick knock land lag lead lean leap level lie lift load lock loosen lower
    lunge lurch lay maintain match meet move open overreach paddle pause peel pivot place plant point poke pop power
    press pronate pull pump punch push raise reach recover relax release reset return roll rotate round run rush sag
    scoop screw set shift shoot shrug sink sit skip slam slap slide slouch slow snap soften spin split spread spring
    sprint square squash squat squeeze stack stand stay steer step stiffen stop straighten stretch stride strike
    suck supinate swing swivel sweep switch take tap tense throw thrust tighten tilt toss touch track transfer
    travel trail tuck turn twist uncoil unwind wait walk whip wind wrap stomp slump sway wobble tip hunch buckle bow
    cave creep hurry hesitate stall stretch start begin finish end look watch stay get go put let use think imagine
    keep"""
)
WEAK = words(
    """start begin finish end look watch get go put let use think take come wait run feel stop make do"""
)
MANNER = words(
    """straight bent relaxed loose stiff tight wide wider narrow narrower slowly slow quickly fast softly soft smoothly
    smooth fully full halfway level high higher low lower forward forwards backward backwards back up down upward
    upwards downward downwards inside outside inward inwards outward outwards sideways behind toward towards over
    under across apart together close early late earlier later parallel vertical horizontal square neutral tall long
    short first half quarter bent tucked locked extended rounded flat upright firm firmly gently hard deep shallow"""
)

# What is named by these is a performance gone wrong, whatever else is said of it.
FAULT_WORDS = (
    r"\b(?:mistakes?|faults?|faulty|errors?|wrong(?:ly)?|incorrect(?:ly)?|flaws?|flawed|poor(?:ly)?|bad(?:ly)?|sloppy"
    r"|what not to|not (?:like this|how you|the way))\b"
)

_ENDINGS = ("ing", "ed", "es", "s", "d")
_SKIPPED = words(
    """so now and but then okay ok alright well just um uh like also again first second third next finally here instead
    always please slowly gently simply really always remember"""
)
_REFUSALS = (("do", "not"), ("don't",), ("never",), ("stop",), ("avoid",), ("quit",))
_LOOKING = words(
    "look watch see notice think imagine feel"
)  # orders to a viewer, not to a performer


def stem(word: str) -> str:
    """The movement that an inflected word names ("dropping": "drop"), else the word itself."""
    if word in MOVES:
        return word
    for ending in _ENDINGS:
        root = word.removesuffix(ending)
        if root == word or len(root) < 2:
            continue
        for base in (root, root + "e", root[:-1] if root[-1:] == root[-2:-1] else root):
            if base in MOVES:
                return base
    return word


def gives_order(text: str, *, positive: bool = False) -> bool:
    """A clause opens with a movement in its base form, perhaps after fillers: "and now bend your
    knees".

    ``positive``: only the first clause counts, and an order not to do something does not.
    """
    clauses = re.split(r"[,;:.!?]| and | then | but | so ", text.lower().replace("\u2019", "'"))
    for clause in [clause for clause in clauses if clause.strip()][: 1 if positive else None]:
        said = re.findall(r"[a-z][a-z'-]*", clause)
        while said and said[0] in _SKIPPED:
            said.pop(0)
        refused = next((lead for lead in _REFUSALS if tuple(said[: len(lead)]) == lead), ())
        if refused and positive:
            return False
        said = said[len(refused) :]
        if positive and said and said[0] in _LOOKING:
            return False
        if said and said[0] in MOVES and not _describes(said):
            return True
    return False


def _describes(clause: list[str]) -> bool:
    """As in "grip slips", "swing gets short": a noun and its verb in the third person."""
    first, second = [*clause, ""][:2]
    return (
        second.endswith("s") and second not in BODY and stem(second) in MOVES and first in TECHNIQUE
    )
