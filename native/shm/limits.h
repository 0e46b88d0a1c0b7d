/* Limits: sizes at which a structure takes its next piece of memory, gives one back, or puts something off.
 *
 * A test rarely fills a slab of 4,096 rows, so what happens when one is given back is hardly ever tried, and a fault
 * there stays for years. With SCALER_TINY, which `make sanitize` sets, every such limit is so small that a handful of
 * tasks reaches it.
 *
 * Rule 1: a limit stands here if reaching it changes what the code does, and neither peers nor callers can see its value.
 * Rule 2: no rule depends on how large a limit is; the same tests pass with both sets.
 * Not here: what peers must agree on (layout.pxi), what users may choose (scaler/config).
 */
#ifndef SCALER_LIMITS_H
#define SCALER_LIMITS_H

#ifdef SCALER_TINY

#define SLAB_SHIFT 3
#define TABLE_STEP 1
#define INLINE_BYTES 8
#define PAGE_SHIFT 1
#define FUTURE_PAGE 8
#define MOST_FREED 4
#define MOST_RECORDS 32
#define FLUSH_RECORDS 4
#define MOST_UNREAD_BYTES (1 << 16)
#define RUN_FIRST_BYTES 256
#define RUN_KEPT_BYTES 1024

#else

#define SLAB_SHIFT 12              /* rows of one slab of the table of tasks, as a power of two */
#define TABLE_STEP 1024            /* slabs by which the list of slabs grows */
#define INLINE_BYTES 32            /* of a payload that stands in the row itself */
#define PAGE_SHIFT 6               /* numbers in one page of a directory, as a power of two */
#define FUTURE_PAGE 4096           /* futures of a client with consecutive numbers, in one page */
#define MOST_FREED 256             /* ids of freed objects in one control record */
#define MOST_RECORDS 512           /* of one peer, taken in one turn; long ones count for several */
#define FLUSH_RECORDS 64           /* a fence for each peer costs more than these wait */
#define MOST_UNREAD_BYTES (512 << 20) /* of objects in results that a client has not read: more of them wait */
#define RUN_FIRST_BYTES 4096       /* what a run of records begins with */
#define RUN_KEPT_BYTES (1 << 20)   /* a run that has grown no larger is not made smaller */

#endif

#define PAGE_NUMBERS (1 << PAGE_SHIFT)

#endif
