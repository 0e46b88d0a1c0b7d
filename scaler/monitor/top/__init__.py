"""scaler_top: what a scheduler does, in a terminal.

Reports come in (`source`), are kept as what was said last and as rates (`latest`), and become lines of styled text
(`header`, `views`, `details`), of which a terminal gets those that have changed (`screen`, `terminal`). `viewer` holds
what the user has chosen, and turns keys into that. `program` is the loop around all of it.

Rule 1: everything but `source`, `terminal` and `program` is free of I/O and of clocks: reports and keys in, lines out.
Rule 2: text is cut to its cells first and coloured last, since measuring what is already coloured is slow.
Rule 3: what a scheduler says may have been written by anybody, so every text passes through `text.clean`.
"""
