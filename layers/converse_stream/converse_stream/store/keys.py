"""The table's keys, pure.

| item                    | pk                | sk                               |
|-------------------------|-------------------|----------------------------------|
| conversation            | U#<user>#C#<conv> | ~META (sorts after its messages) |
| message                 | the same          | M#00000007                       |
| rest of a large message | the same          | L#00000007#<message>#01, …       |
| its earlier version     | the same          | E#00000007#<generation>          |
| generation              | U#<user>#G#<gid>  | H                                |
| sealed piece of its log | the same          | S#<first position, 10 digits>    |
| who follows it          | the same          | A#<client>                       |
| fact                    | U#<user>#F        | F#<id>                           |
| profile, and the mark   | the same          | P                                |
| that all is erased      |                   |                                  |
| a day's use             | U#<user>#R        | D#2026-11-21                     |
| a user's rate and slots | the same          | rl                               |
| an address's rate       | R#ip#<hash>       | rl                               |
| the day of everybody    | R#all#<day>#<0-9> | D                                |
| the switch: all is off  | R#all             | paused                           |

The index `by-update` lists a user's conversations: gsi1pk = U#<user>, gsi1sk = the time of the last change; and under
gsi1pk = U#<user>#D what is left of deleted ones.
"""

META = "~META"
PROFILE = "P"
RECORD = "H"
INDEX = "by-update"
RATE = "rl"
SWITCH = ("R#all", "paused")


def user(user_key: str) -> str:
    """The user's partition in the index."""
    return f"U#{user_key}"


def deleted(user_key: str) -> str:
    """The partition in the index of the user's deleted conversations."""
    return f"U#{user_key}#D"


def conversation(user_key: str, conversation_id: str) -> str:
    """The partition of one conversation."""
    return f"U#{user_key}#C#{conversation_id}"


def generation(user_key: str, gid: str) -> str:
    """The partition of one generation."""
    return f"U#{user_key}#G#{gid}"


def segment(start: int) -> str:
    """The sort key of a sealed piece of the log that begins at this position."""
    return f"S#{start:010d}"


def attach(client: str) -> str:
    """The sort key of a follower; it sorts before the head, so one query reads both."""
    return f"A#{client}"


def limits(user_key: str) -> str:
    """The partition of what a user has used."""
    return f"U#{user_key}#R"


def day(date: str) -> str:
    """The sort key of a day, YYYY-MM-DD in UTC."""
    return f"D#{date}"


def address(hashed: str) -> tuple[str, str]:
    """The rate of an address; `converse_stream.auth` hashes it."""
    return f"R#ip#{hashed}", RATE


def deployment_day(date: str, shard: int) -> tuple[str, str]:
    """A tenth of what the whole deployment has used on a day."""
    return f"R#all#{date}#{shard}", "D"


def facts(user_key: str) -> str:
    """The partition of what the assistant remembers of a user."""
    return f"U#{user_key}#F"


def message(seq: int) -> str:
    """The sort key of a message; one query from here to META reads the end of a conversation."""
    return f"M#{seq:08d}"


def replaced(seq: int, gid: str) -> str:
    """The sort key of an answer that another took the place of."""
    return f"E#{seq:08d}#{gid}"


def continuation(seq: int, message_id: str, piece: int) -> str:
    """The sort key of a later piece of a message that is too large for one item; `piece` counts from 1."""
    return f"L#{seq:08d}#{message_id}#{piece:02d}"


def fact(fact_id: str) -> str:
    """The sort key of a fact."""
    return f"F#{fact_id}"
