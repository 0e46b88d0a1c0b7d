/* Poison: memory that is ours and must not be touched now, said to AddressSanitizer.
 *
 * AddressSanitizer sees what malloc has given out and taken back. It cannot see that a row in a slab is free, or that the
 * bytes of a record in a ring have been given back to its writer. So whoever owns such memory says it here, and a touch
 * of it ends the program of `make sanitize` with the line that did it. In any other build these are nothing.
 *
 * Rule 1: who gives memory out unpoisons it, who takes it back poisons it; a mapping is unpoisoned before it is unmapped.
 * Rule 2: addresses and lengths are multiples of 8, but for the end of what is unpoisoned.
 */
#ifndef SCALER_POISON_H
#define SCALER_POISON_H

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define scaler_poison(start, n_bytes) ASAN_POISON_MEMORY_REGION(start, n_bytes)
#define scaler_unpoison(start, n_bytes) ASAN_UNPOISON_MEMORY_REGION(start, n_bytes)
#else
#define scaler_poison(start, n_bytes) ((void)(start), (void)(n_bytes))
#define scaler_unpoison(start, n_bytes) ((void)(start), (void)(n_bytes))
#endif
#endif
