"""An endless supply of small stories in which names and things introduced early recur to the end.

The demo learns from them: the words are few, so a tiny model learns them in minutes; and each story
keeps its own hero, friend, pet, thing, colour, place and food, so a model that looks far back
predicts better than one that does not. A change of these words or of the order of the random draws
changes the demo's numbers.
"""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from rope_spectra.data.base import (
    DocumentSection,
    DocumentSplit,
    Facts,
    Language,
    Pieces,
    SplitName,
    whole,
)
from rope_spectra.runtime.settings import Seed

GIRLS = "Ada Amy Bella Clara Daisy Ella Fern Grace Hazel Ivy June Kate Lily Mia Nora Poppy Rose Zoe"
BOYS = "Adam Ben Carl Dan Eli Finn George Hugo Jack Kai Leo Max Noah Otto Pete Sam Tom Will"
NAMES = [*GIRLS.split(), *BOYS.split()]
SHE = {"child": "girl", "he": "she", "his": "her", "him": "her", "He": "She", "His": "Her"}
HE = {"child": "boy", "he": "he", "his": "his", "him": "him", "He": "He", "His": "His"}

FIXED = {
    "pet": "Biscuit Button Clover Coco Domino Ginger Honey Jasper Mango Maple Muffin Nibbles Olive "
    "Patches Pepper Pickle Pumpkin Rusty Teddy Waffle",
    "animal": "cat dog duck fox frog goat goose hedgehog hen kitten lamb mouse parrot pig pony "
    "puppy rabbit sheep squirrel turtle",
    "colour": "black blue brown copper cream golden green grey lilac peach pearl pink purple red "
    "ruby scarlet silver violet white yellow",
    "thing": "ball basket bell boat book box cup drum flute hat key kite lantern map mirror puppet "
    "ribbon scarf spoon whistle",
    "place": "bakery barn beach bridge castle cave farm fountain harbour hill lake market "
    "meadow mill orchard pond river tower well windmill",
    "food": "apples berries bread cake carrots cheese cherries corn jam noodles nuts pancakes "
    "pears pie plums porridge pudding rice soup toast",
    "elder": "aunt brother cousin father grandfather grandmother mother neighbour nurse sister "
    "teacher uncle",
}
FIXED_WORDS = {slot: words.split() for slot, words in FIXED.items()}

VARYING = {
    "time": "In the morning, After lunch, Later that day, The next day, One evening, "
    "Soon after that, On Sunday",
    "feeling": "happy, proud, brave, calm, glad, merry, tired",
    "weather": "warm, cold, bright, wild, dark, soft",
}
VARYING_WORDS = {slot: phrases.split(", ") for slot, phrases in VARYING.items()}

OPENING = (
    "Once upon a time there was a {child} named {hero}. "
    "{He} lived near the {place} with {his} {elder}. "
    "{His} best friend was {friend}, and {his} pet was a small {animal} named {pet}. "
    "They all loved {food}. "
    "One day the {elder} gave {hero} a {colour} {thing}."
)
ENDING = (
    "And so {hero} and {friend} stayed friends, {pet} the {animal} grew old and fat on {food}, "
    "and the {colour} {thing} is still at the {place} today. The end.\n"
)

# A block is a scene, and each two lines of it are a beat: a choice of two sentences.
SCENES_TEXT = """\
{time}, {hero} and {friend} walked to the {place}.
{time}, {friend} and {hero} ran all the way to the {place}.
{pet} the {animal} came with them, as always.
The {animal} came too, for {pet} did not like to be alone.
{hero} held the {colour} {thing} with both hands.
In {his} bag {hero} had the {colour} {thing}.

{time}, the {colour} {thing} was gone.
{time}, {hero} could not find the {colour} {thing}.
{He} looked all over the {place}, but it was not there.
"Where is my {thing}?" asked {hero}.
Then {pet} found it under a tree.
"Look!" said {friend}. "The {animal} has it!"
{hero} was {feeling} again.
{hero} gave {pet} some {food} to say thank you.

{time}, {his} {elder} made {food} for {hero} and {friend}.
{time}, the {elder} called {hero} in to eat {food}.
{friend} ate the most, and {pet} ate the rest.
{hero} shared the {food} with {friend} and with {pet}.
"Nothing is better than {food}," said {friend}.
{hero} told {his} {elder} about the {place}.

{time}, the sky over the {place} was {weather}.
{time}, a {weather} wind came from the {place}.
{pet} the {animal} was afraid, but {friend} was not.
{friend} was afraid, but {pet} the {animal} was not.
{hero} hid the {colour} {thing} under {his} coat.
"Take the {thing} home!" said {friend}, and {hero} did.

{time}, an old man sat at the {place}.
{time}, an old woman came to the {place}.
"What is your name?" "My name is {hero}."
"Who are you?" "I am {hero}, and this is {friend}."
"And who is this {animal}?" "This is {pet}."
"I once had a {animal} too. It looked just like {pet}."
{hero} showed the {colour} {thing} and was {feeling}.
"What a {colour} {thing}! Who gave it to you?" "My {elder}."

{time}, {hero} wrote a letter to {his} {elder}.
{time}, a letter came for the {elder}.
"We are at the {place}, and {friend} is {feeling}.
"The {place} is {weather} today, but {friend} is {feeling}.
Our {animal} is well. We need more {food}.
{pet} ate all the {food}. The {thing} is safe.
With love, {hero}."
Come soon! Your {hero}."

{time}, {friend} said, "Let us hide!"
{time}, they played a game at the {place}.
{hero} hid behind the {place}, and {friend} could not see {him}.
{friend} hid so well that {hero} gave up.
But {pet} the {animal} knew where to look.
But the {animal} sat down and waited, and that was the end of it.

{time}, {hero} could not sleep.
{time}, {hero} lay in bed and looked at the moon.
{He} thought of the {place} and of {friend}.
The moon was over the {place}, where {friend} lived.
The {colour} {thing} lay beside {him}, and {pet} lay on top.
{pet} the {animal} was {feeling}, and so was {he}.
Then the {elder} came with some {food}.
"Good night, {hero}," said {his} {elder}.

{time}, a boy wanted to buy the {colour} {thing}.
{time}, a girl asked {hero} for the {thing}.
"I will give you {food} for it."
"You may have my {animal} for it."
"No," said {hero}, "it is from my {elder}."
"No," said {hero}, "I have {pet}, and I have enough {food}."
{friend} was {feeling}.
{friend} laughed all the way back from the {place}.

{time}, {pet} ran away from the {place}.
{time}, the {animal} was not in the house.
"{pet}! {pet}!" called {hero}.
{hero} and {friend} called and called for {pet}.
They put some {food} beside the {colour} {thing}.
{friend} looked everywhere, and {hero} asked {his} {elder}.
Soon {pet} was back, and {hero} was {feeling}.
The {animal} had been with the {elder} all day.

{time}, {hero} helped {his} {elder} at the {place}.
{time}, there was much work to do for the {elder}.
{friend} carried the {food}, and {pet} carried nothing.
{hero} washed the {thing} until it was {colour} again.
"You are a good {child}, {hero}," said the {elder}.
"Thank you, {hero}. Thank you, {friend}," said the {elder}.

{time}, {friend} made a song about {pet} the {animal}.
{time}, {hero} sang at the {place}.
"Oh {pet}, my {animal}, how {feeling} are we,
"Oh {friend}, come down to the {place} with me,
with {food} and a {colour} {thing} under the tree!"
and {hero} and {pet} will be {feeling} and free!"
"""


def _beats(scene: str) -> list[list[str]]:
    lines = scene.splitlines()
    return [lines[start : start + 2] for start in range(0, len(lines), 2)]


SCENES = [_beats(scene) for scene in SCENES_TEXT.split("\n\n")]


class SyntheticSplit(DocumentSplit):
    """Generated stories."""

    is_endless: ClassVar[bool] = True

    source: Literal["synthetic"]
    seed: Seed
    split: SplitName

    @property
    def description(self) -> str:
        return f"stories generated by rope-spectra, seed {self.seed}"

    def facts(self) -> Facts:
        return self.content()

    def pieces(self) -> Iterator[Pieces]:
        return whole(stories(self.seed, self.split))


class SyntheticData(DocumentSection):
    """Generated stories in which names and things recur"""

    source: Literal["synthetic"]
    seed: Seed = Field(0, description="Which stories")
    language: Language = Field(
        "en",
        description="Language of the text, as ISO 639 code, for the model card (null: unknown)",
    )
    train_tokens: int = Field(ge=1, description="Training tokens to generate")
    validation_tokens: int = Field(ge=1, description="Validation tokens to generate")

    def split(self, split: SplitName) -> SyntheticSplit:
        return SyntheticSplit(source="synthetic", seed=self.seed, split=split)


def stories(seed: int, split: SplitName) -> Iterator[str]:
    """The endless stories of a split, each of about 6,000 to 9,000 characters."""
    return (story(seed, split, index) for index in count())


def story(seed: int, split: SplitName, index: int) -> str:
    """Story `index` of a split: a pure function, the same on every machine."""
    random = Random(f"{split}/{seed}/{index}")
    words = _choose_words(random, split)
    length = 6000 + int(2500 * random.random())
    parts = [OPENING.format_map(words)]
    scene = 0
    while sum(map(len, parts)) < length:
        # Any scene but the one that has just been told.
        scene = (scene + 1 + int(random.random() * (len(SCENES) - 1))) % len(SCENES)
        parts.append(_tell(random, SCENES[scene], words))
    parts.append(ENDING.format_map(words))
    return "\n".join(parts)


def _choose_words(random: Random, split: SplitName) -> dict[str, str]:
    """The hero, the friend and the words that stay the same throughout a story.

    Hero and friend stand an even number of names apart in train and an odd number in validation, so
    no story is in both.
    """
    hero = int(random.random() * len(NAMES))
    distance = 2 * int(random.random() * (len(NAMES) // 2 - 1)) + (2 if split == "train" else 1)
    friend = (hero + distance) % len(NAMES)
    words = {"hero": NAMES[hero], "friend": NAMES[friend]}
    words |= SHE if NAMES[hero] in GIRLS.split() else HE
    for slot, choice in FIXED_WORDS.items():
        words[slot] = _pick(random, choice)
    return words


def _tell(random: Random, scene: list[list[str]], words: dict[str, str]) -> str:
    """One scene, a sentence a beat."""
    varying = {slot: _pick(random, choice) for slot, choice in VARYING_WORDS.items()}
    return " ".join(_pick(random, beat).format_map(words | varying) for beat in scene)


def _pick(random: Random, choice: list[str]) -> str:
    # Of the generator's methods only random() is promised to give the same numbers in every Python.
    return choice[int(random.random() * len(choice))]
