"""scaler_keys: makes a folder of keys, and parts of it for the hosts of each role."""

import argparse
import sys

from scaler.exceptions import KeysError

_ABOUT = """Makes keys for a scheduler and for those that may speak to it, so that nobody else can, or listen in.

  scaler_keys FOLDER          makes FOLDER with a pair of keys for the scheduler and for each role
  scaler_keys split FOLDER    makes FOLDER/scheduler, FOLDER/client, FOLDER/worker and FOLDER/monitor, each with what
                              that role needs and nothing else: carry these to the hosts

Give a folder to every program that is to take part: --keys FOLDER, Client(address, keys=FOLDER), or SCALER_KEYS=FOLDER.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "scaler_keys", usage="scaler_keys [split] FOLDER", description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("words", nargs="+", metavar="FOLDER", help="the folder; it must not be there, or be empty")
    words: list[str] = parser.parse_args(arguments).words
    is_split = words[0] == "split" and len(words) == 2
    if not is_split and len(words) != 1:
        parser.exit(2, f"scaler_keys: {words[1]} is one argument too many (scaler_keys -h shows what there is)\n")
    from scaler.keys.folder import make_folder, split_folder

    try:
        made = split_folder(words[1]) if is_split else [make_folder(words[0])]
    except KeysError as error:
        parser.exit(1, f"scaler_keys: {error}\n")
    sys.stdout.write("".join(f"{each}\n" for each in made))
    return 0
