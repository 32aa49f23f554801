"""Builds the keys of the table's items. Pure.

| item                    | pk                | sk                               |
|-------------------------|-------------------|----------------------------------|
| conversation            | U#<user>#C#<conv> | ~META (sorts after its messages) |
| message                 | the same          | M#00000007                       |
| rest of a large message | the same          | L#00000007#<message>#01, …       |
| a replaced answer       | the same          | E#00000007#<generation>          |
| generation record       | U#<user>#G#<gid>  | H                                |
| segment of its log      | the same          | S#<first position, 10 digits>    |
| follower of it          | the same          | A#<client>                       |
| fact                    | U#<user>#F        | F#<id>                           |
| profile, with the       | the same          | P                                |
| marker of an erasure    |                   |                                  |
| a user's usage of a day | U#<user>#R        | D#2026-11-21                     |
| a user's rate and slots | the same          | rl                               |
| an address's rate       | R#ip#<hash>       | rl                               |
| everyone's usage of a   | R#all#<day>#<0-9> | D                                |
| day, in ten shards      |                   |                                  |
| the switch that pauses  | R#all             | paused                           |
| the deployment          |                   |                                  |

The index `by-update` lists a user's conversations: gsi1pk = U#<user>, gsi1sk = the time of the last change. Under
gsi1pk = U#<user>#D it lists the deleted conversations that still have items.
"""

META = "~META"
PROFILE = "P"
RECORD = "H"
INDEX = "by-update"
RATE = "rl"
SWITCH = ("R#all", "paused")


def user(user_key: str) -> str:
    """The index partition of the user's conversations."""
    return f"U#{user_key}"


def deleted(user_key: str) -> str:
    """The index partition of the user's deleted conversations."""
    return f"U#{user_key}#D"


def conversation(user_key: str, conversation_id: str) -> str:
    """The partition of one conversation."""
    return f"U#{user_key}#C#{conversation_id}"


def generation(user_key: str, gid: str) -> str:
    """The partition of one generation."""
    return f"U#{user_key}#G#{gid}"


def segment(start: int) -> str:
    """The sort key of the segment of the log that begins at position `start`."""
    return f"S#{start:010d}"


def attach(client: str) -> str:
    """The sort key of a follower. It sorts before the generation record, so one query reads both."""
    return f"A#{client}"


def limits(user_key: str) -> str:
    """The partition of a user's usage and rate."""
    return f"U#{user_key}#R"


def day(date: str) -> str:
    """The sort key of the usage of a day; `date` is YYYY-MM-DD in UTC."""
    return f"D#{date}"


def address(hashed: str) -> tuple[str, str]:
    """The key of an address's rate; `converse_stream.auth` hashes the address."""
    return f"R#ip#{hashed}", RATE


def deployment_day(date: str, shard: int) -> tuple[str, str]:
    """The key of one of ten shards of the deployment's usage of a day."""
    return f"R#all#{date}#{shard}", "D"


def facts(user_key: str) -> str:
    """The partition of a user's facts and profile."""
    return f"U#{user_key}#F"


def message(seq: int) -> str:
    """The sort key of a message. One query from here to META reads the newest messages and the conversation."""
    return f"M#{seq:08d}"


def replaced(seq: int, gid: str) -> str:
    """The sort key of an answer that another answer has replaced."""
    return f"E#{seq:08d}#{gid}"


def continuation(seq: int, message_id: str, piece: int) -> str:
    """The sort key of a continuation of a message that is too large for one item; `piece` counts from 1."""
    return f"L#{seq:08d}#{message_id}#{piece:02d}"


def fact(fact_id: str) -> str:
    """The sort key of a fact."""
    return f"F#{fact_id}"
