"""Words of English, Russian and Turkish that say nothing of a text's subject, or refer to an earlier one."""

from __future__ import annotations

from typing import Final

__all__ = ["BEGINNINGS", "PRONOUNS", "STOP_WORDS"]

_ENGLISH: Final = """
a about above after again against all also am an and any are as at be because been before being below between both but
by can could d did do does doing don down during each either few for from further get got had has have having he her
here hers him his how i if in into is it its just let ll may me might more most much must my no nor not of off on once
only or other our ours out over own per please re s same shall she should so some such t than that the their theirs
them then there these they this those through to too under until up us ve very via was we were what when where whether
which while who whom whose why will with would you your yours
"""
_RUSSIAN: Final = """
а без более бы был была были было быть в вам вами вас ваш ваша ваше ваши ведь во вот все всего всех всё вы где да даже
для до его ее ей ему если есть ещё еще её же за зачем здесь и из или им ими их к как какая какие каких какого каком
какой какую ко когда кто куда ли либо лишь мне меня много может можно могу мой моя мы на над надо нам нами нас наш не
него нее ней нет неё ни нибудь никто ничего но ну нужен нужна нужно о об один он она они оно от откуда очень перед по
под после потом почему почти при про раз разве с сам свой свою себе себя сейчас со совсем сколько так также такой там
те тебя тем теперь то тогда того тоже той только том тот ту тут ты у уж уже хоть чего чей чем что чтоб чтобы чья чём
эта эти этим этих это этого этой этом этот эту я
"""
_TURKISH: Final = """
ama ancak az bana bazı belki ben benden beni benim bile bir biraz biri biz bizim bizi bu buna bunda bundan bunlar bunu
bunun da daha de değil diye eğer en fakat gerek gibi göre hangi hangisi hem hep her hiç ile ise için kaç kadar kendi ki
kim kime kimin kimse lazım mi midir mu mü mı mıdır nasıl ne neden nedir nerede nereden nereye niçin niye o olan olarak
olmak olmalı olsa olur olup ona ondan onlar onlara onu onun pek sana sen seni senin siz sizi sizin sonra şey şu şuna
şunu üzere var ve veya ya yani yok zaman çok çünkü önce
"""
STOP_WORDS: Final = frozenset((_ENGLISH + _RUSSIAN + _TURKISH).split())

_PRONOUNS: Final = """
it its they them their theirs he him his she her hers this that these those there one ones
он она оно они его её ее их им ими ему ей ней нее неё нём нем них ним нему этот эта это эти этого этой этому этом
этих этим тот та те того той там туда такой такая такое такие
o onu ona onun onda ondan onlar onları onların bu bunu buna bunun bunda bundan bunlar bunları şu şunu orada oraya
orası burada böyle öyle
"""
_BEGINNINGS: Final = "and but or also then so а и но или тогда ещё еще peki ya ve ama veya"
PRONOUNS: Final = frozenset(_PRONOUNS.split())
"""Words that stand for something said before."""
BEGINNINGS: Final = frozenset(_BEGINNINGS.split())
"""Words that begin a follow-up question."""
