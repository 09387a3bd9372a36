"""What coaches say in the demo world: advice, mistakes, expert comments, and the talk around them.

Coaches ask in images ("reach for the far wall"), as coaches do; captions name joints ("the right elbow is locked out").
What an image asks of the body cannot be known from captions, only from seeing what is done while it is said: that is what
instructional pairs teach. The images' words occur in the generic captions too, about other things, as a public
checkpoint would know English. Every channel (``style`` 0 to 8) frames the images in sentences of its own, so that a
sentence said on one channel is never said on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from sportskills_lib.demo.skills import Fault, Skill

T = TypeVar("T")

# What a caption says of a state: clauses, imperatives. Only the generic captions of the base models use these.
LITERAL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "arm_straight": (
        ("the right arm is straight", "your right elbow is locked out", "the right arm stays long and extended"),
        ("keep the right arm straight", "extend your right elbow fully", "make the right arm long and straight"),
    ),
    "arm_bent": (
        ("the right arm is bent", "your right elbow folds up", "the right arm stays short with a bent elbow"),
        ("bend the right elbow", "keep your right arm bent", "fold the right elbow to a right angle"),
    ),
    "arm_high": (
        ("the right arm is high overhead", "your right hand reaches above the head", "the right hand goes up high"),
        ("reach the right hand high overhead", "lift your right arm above the head", "get the right hand up high"),
    ),
    "arm_low": (
        ("the right arm is low", "your right hand drops by the hip", "the right arm hangs down low"),
        ("keep the right arm low", "leave your right hand by the hip", "let the right arm hang down"),
    ),
    "arm_wide": (
        ("the right arm flares out wide", "your right elbow sticks out to the side", "the right arm goes wide of the body"),
        ("take the right arm out wide", "send your right elbow to the side", "move the right arm wide of the body"),
    ),
    "arm_close": (
        ("the right arm is close to the body", "your right elbow is tucked in", "the right arm stays near the ribs"),
        ("keep the right arm close to the body", "tuck your right elbow in", "brush the ribs with the right arm"),
    ),
    "free_arm_high": (
        ("the left arm is up", "your left hand points high", "the left arm is raised in front"),
        ("keep the left arm up", "point your left hand high", "raise the left arm in front of you"),
    ),
    "free_arm_low": (
        ("the left arm hangs down", "your left hand drops to the side", "the left arm does nothing at the hip"),
        ("let the left arm hang down", "drop your left hand to the side", "rest the left arm at the hip"),
    ),
    "knees_bent": (
        ("both knees are bent", "your legs are deep in a crouch", "the knees bend and the hips sit low"),
        ("bend both knees", "sit your hips down low", "stay deep in your legs with bent knees"),
    ),
    "knees_straight": (
        ("both knees are straight", "your legs are stiff and tall", "the knees stay locked and the hips high"),
        ("straighten both knees", "stand tall on straight legs", "keep the knees long and the hips high"),
    ),
    "chest_up": (
        ("the chest is up", "your back is upright", "the torso stays tall"),
        ("keep the chest up", "hold your back upright", "stay tall with the torso"),
    ),
    "folded_forward": (
        ("the chest falls forward", "your back folds over at the waist", "the torso tips down to the floor"),
        ("let the chest fall forward", "fold your back over at the waist", "tip the torso down to the floor"),
    ),
    "leaning_back": (
        ("the torso leans back", "your chest tips backward", "the upper body falls behind the hips"),
        ("lean the torso back", "tip your chest backward", "take the upper body behind the hips"),
    ),
    "leaning_sideways": (
        ("the torso leans to the side", "your chest tips sideways", "the upper body falls over one hip"),
        ("lean the torso to the side", "tip your chest sideways", "drop the upper body over one hip"),
    ),
    "feet_wide": (
        ("the feet are wide apart", "your stance is broad", "the feet stand wider than the shoulders"),
        ("set the feet wide apart", "take a broad stance", "put your feet wider than the shoulders"),
    ),
    "feet_narrow": (
        ("the feet are close together", "your stance is narrow", "the feet stand right under the hips"),
        ("set the feet close together", "take a narrow stance", "put your feet right under the hips"),
    ),
    "leg_high": (
        ("the right leg lifts high", "your right knee comes up to the waist", "the right foot is far off the ground"),
        ("lift the right leg high", "bring your right knee up to the waist", "get the right foot far off the ground"),
    ),
    "leg_low": (
        ("the right leg stays low", "your right knee hardly lifts", "the right foot skims the ground"),
        ("keep the right leg low", "hardly lift your right knee", "skim the ground with the right foot"),
    ),
    "full_finish": (
        ("the movement goes all the way through", "your finish is complete", "the end of the motion is reached"),
        ("swing all the way through to the finish", "complete your follow through", "go on to the very end of the motion"),
    ),
    "short_finish": (
        ("the movement stops short", "your finish is cut off", "the motion freezes half way"),
        ("stop the movement short", "cut your finish off", "freeze the motion half way"),
    ),
    "full_backswing": (
        ("the movement starts with a big wind up", "your preparation is complete", "the motion loads fully at the start"),
        ("start with a big wind up", "take your preparation all the way back", "load the motion fully at the start"),
    ),
    "no_backswing": (
        ("the movement starts without a wind up", "your preparation is missing", "the motion begins half way"),
        ("start without a wind up", "skip your preparation", "begin the motion half way"),
    ),
}  # fmt: skip

# What a coach says: images for an effect outside the body, as coaches prefer ("external focus", Wulf 2013), not joints and
# angles. For each state: how the mistake looks (clauses), how to ask for it (imperatives).
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "arm_straight": (
        ("you swing a stiff plank", "the gate does not fold", "there is a broomstick in the sleeve"),
        ("reach for the far wall", "throw your hand over the fence", "stretch the rope until it sings"),
    ),
    "arm_bent": (
        ("the wing is broken", "there is a kink in the hose", "you hold a phone to the ear"),
        ("hide the watch in the sleeve", "close the gate at the hinge", "carry a tray like a waiter"),
    ),
    "arm_high": (
        ("you wave to a plane", "the hand is up in the clouds", "you hang on to the lamp"),
        ("paint the ceiling with the fingers", "pick the apple from the top branch", "touch the sky with the hand"),
    ),
    "arm_low": (
        ("the hand is stuck in the pocket", "you carry a bucket of water", "the anchor drags on the ground"),
        ("brush the pocket with the hand", "carry the bucket by its handle", "keep the anchor on the ground"),
    ),
    "arm_wide": (
        ("the chicken wing comes out", "you open a barn door", "the scarecrow stands in the field"),
        ("open the barn door", "spread the wing like a bird", "be the scarecrow in the field"),
    ),
    "arm_close": (
        ("you squeeze a lemon under the sleeve", "the newspaper stays under the wing", "the tube is narrow"),
        ("squeeze a lemon under the sleeve", "hold a newspaper under the wing", "slide through a narrow tube"),
    ),
    "free_arm_high": (
        ("the flag is up on the other side", "the other hand holds the shield", "the torch is lit in front"),
        ("raise the flag on the other side", "hold the shield with the other hand", "light the torch in front"),
    ),
    "free_arm_low": (
        ("the other hand sleeps at your side", "the flag is down on the other side", "the shield lies in the sand"),
        ("let the other hand sleep", "lower the flag on the other side", "put the shield in the sand"),
    ),
    "knees_bent": (
        ("you sink in the mud", "the elevator stays in the basement", "you sit on a tiny chair"),
        ("sit back into a low chair", "take the elevator to the basement", "load the spring under the floor"),
    ),
    "knees_straight": (
        ("you walk on stilts", "two pillars hold you from below", "the spring under you is rusty"),
        ("grow tall like a tree", "push the ground away until you are tall", "take the elevator to the roof"),
    ),
    "chest_up": (
        ("the logo on the shirt shines", "a string pulls you to the roof", "you balance a book"),
        ("show the logo on the shirt to the crowd", "hang from a string in the roof", "balance a book on the hair"),
    ),
    "folded_forward": (
        ("you look for coins in the grass", "the candle melts over", "the logo on the shirt kisses the floor"),
        ("look for coins in the grass", "melt like a candle", "hide the logo on the shirt"),
    ),
    "leaning_back": (
        ("you slide under a limbo bar", "you run away from a fire", "the rocking chair tips you over"),
        ("slide under a limbo bar", "sit in a rocking chair", "run away from the fire"),
    ),
    "leaning_sideways": (
        ("the ship tips over", "the tower of pisa is back", "a heavy suitcase pulls you over"),
        ("tip the ship over", "be the tower of pisa", "pick up a heavy suitcase"),
    ),
    "feet_wide": (
        ("you ride a fat horse", "the bridge splits in the middle", "you straddle a river"),
        ("stand on two railway tracks", "straddle the river", "build a broad bridge"),
    ),
    "feet_narrow": (
        ("you balance on one rail", "the shoes are tied together", "you stand in a bottle"),
        ("stay inside one hoop", "stand on a dinner plate", "keep the shoes in one box"),
    ),
    "leg_high": (
        ("you step over a tall hurdle", "the boot is on the table", "you march like a soldier"),
        ("step over a tall hurdle", "put the boot on the table", "march like a proud soldier"),
    ),
    "leg_low": (
        ("the boot is glued to the carpet", "you drag a heavy chain", "the shoe never leaves the sand"),
        ("glue the boot to the carpet", "drag the chain", "keep the shoe in the sand"),
    ),
    "full_finish": (
        ("the train rolls into the station", "the story has an ending", "the bell rings at the end"),
        ("ride the train into the station", "tell the story to its ending", "ring the bell at the end"),
    ),
    "short_finish": (
        ("the brakes come on too early", "the film stops in the middle", "the train never sees the station"),
        ("hit the brakes early", "stop the film in the middle", "leave the train early"),
    ),
    "full_backswing": (
        ("the bow is drawn before the arrow flies", "the wave builds from far out", "the spring is wound"),
        ("draw the bow before the arrow flies", "build the wave from far out", "wind the clock before it strikes"),
    ),
    "no_backswing": (
        ("the arrow flies from an empty bow", "the car starts in fifth gear", "the clock was never wound"),
        ("shoot from an empty bow", "start the car in fifth gear", "leave the clock alone"),
    ),
}  # fmt: skip

# A fifth of the wordings is said in the test split alone: what a model knows of these images, it knows from elsewhere.
# It is the last wording of 26 of the 44 lists, spread evenly over them.
UNSEEN = frozenset(
    options[-1]
    for n, options in enumerate(o for both in WORDINGS.values() for o in both)
    if n * 22 % 37 < 22
)

# Two sentence frames a style; {skill} is the skill's name, {cue} an imperative, {clause} how the mistake looks.
ADVICE = (
    ("On the {skill}, {cue}.", "For a better {skill}, {cue}."),
    (
        "Remember to {cue} when you practise the {skill}.",
        "When you do the {skill}, {cue} every time.",
    ),
    ("The key to the {skill}: {cue}.", "A good {skill} needs this, {cue}."),
    ("I want you to {cue} during the {skill}.", "Watch my {skill} and {cue} just like this."),
    ("Try to {cue} through the whole {skill}.", "Always {cue} in the {skill}."),
    ("{cue} and the {skill} gets easy.", "If you {cue}, your {skill} improves at once."),
    ("See how I do the {skill} here, {cue}.", "This is the right {skill}, so {cue}."),
    ("You should {cue} on every {skill}.", "Make sure you {cue} for the {skill}."),
    ("Think about one thing in the {skill}, {cue}.", "My tip for the {skill} is to {cue}."),
)
MISTAKES = (
    (
        "A common mistake on the {skill} is that {clause}.",
        "Many players get the {skill} wrong because {clause}.",
    ),
    ("Here is a bad {skill}, {clause}.", "This {skill} is wrong, {clause}."),
    ("Do not do the {skill} like this, {clause}.", "Avoid this on the {skill}, {clause}."),
    (
        "What goes wrong in this {skill} is that {clause}.",
        "The error in the {skill} here, {clause}.",
    ),
    ("Beginners fail the {skill} when {clause}.", "The {skill} breaks down because {clause}."),
    ("You lose the {skill} if {clause}.", "Never let this happen in the {skill}, {clause}."),
    ("Look at the fault in my {skill}, {clause}.", "That is a poor {skill} since {clause}."),
    (
        "The mistake I see most on the {skill}, {clause}.",
        "It is a problem for the {skill} when {clause}.",
    ),
    (
        "Stop doing the {skill} this way, {clause}.",
        "An incorrect {skill} looks like this, {clause}.",
    ),
)
COMMENTS = (
    "In this attempt {clause}, so the {skill} loses power.",
    "I notice that {clause} here and that costs control.",
    "The athlete does the {skill} but {clause}.",
    "{clause} through most of this attempt, which is what to work on.",
)
TIPS = (
    "Next time {cue}.",
    "To improve, {cue} on the {skill}.",
    "I would have them {cue}.",
    "Work on it: {cue}.",
)
IDLE = {
    "talk": (
        "Hey everybody and welcome back to the channel.",
        "I have been coaching here for almost fifteen years now.",
        "We filmed this last summer and the weather was great.",
        "My daughter started with this sport when she was six.",
        "Let me know in the comments where you are watching from.",
        "It took us three hours to drive to this place today.",
    ),
    "sponsor": (
        "This video is brought to you by our sponsor.",
        "Use the code in the description for twenty percent off.",
        "Click the link below to get the discount on these shoes.",
        "Thanks to our partner for the free gear this season.",
    ),
    "broll": (
        "This is the view from our club in the morning.",
        "The town has changed a lot over the years.",
        "We had a wonderful meetup here on Saturday.",
    ),
    "outro": (
        "That is it for today and I will see you next week.",
        "Leave a like and subscribe for more videos.",
        "Thank you so much for watching until the end.",
    ),
}


def pick(options: Sequence[T], rng: np.random.Generator) -> T:
    """One of the options; each is as likely."""
    return options[int(rng.integers(len(options)))]


def sentence(frame: str, skill: Skill, wording: str) -> str:
    """The frame with the skill's name and one of WORDINGS in it."""
    text = frame.format(skill=skill.name, cue=wording, clause=wording)
    return text[0].upper() + text[1:]


def wording(state: str, split: str, rng: np.random.Generator, *, ask: bool) -> str:
    """How a state looks, or how to ask for it; one of :data:`UNSEEN` in the test split alone."""
    options = WORDINGS[state][int(ask)]
    return pick(options if split == "test" else [o for o in options if o not in UNSEEN], rng)


def lesson_sentence(
    skill: Skill, fault: Fault, style: int, split: str, rng: np.random.Generator, *, correct: bool
) -> str:
    """What the channel ``style`` says: advice that prevents ``fault``, over a correct demonstration,
    or what is wrong, while it shows the fault.
    """
    said = wording(fault.good if correct else fault.name, split, rng, ask=correct)
    return sentence(pick((ADVICE if correct else MISTAKES)[style], rng), skill, said)


def cue_words() -> set[str]:
    """The words that carry a cue or a mistake: what a leak test must leave out of the text."""
    texts = [text for clauses, imperatives in WORDINGS.values() for text in clauses + imperatives]
    return {word.strip(".,:").lower() for text in texts for word in text.split()}
