/* The handler of the signal that asks a worker what its code does just now.
 *
 * Python's own faulthandler walks the frames: it has done so in the handlers of signals for years, and knows each
 * version's frames. So it is registered first, for this thread only and for a descriptor of ours; what that has
 * installed is kept here and called as a function, and this handler stands in its place. What this one adds: that only
 * the worker that is asked writes a stack, an end that is seen, and the other threads, each of which writes its own stack, since
 * frames of a thread that runs on must not be walked by another.
 *
 * The answer goes into a file in memory which the supervisor has made and shares with all of its workers. Its first page
 * says who is asked, behind that stands the answer. The supervisor asks one worker at a time.
 *
 * Rule 1: nothing here allocates, takes a lock or needs the interpreter's: the thread may hold any of them. A write into
 *         that file waits for nobody.
 * Rule 2: SA_RESTART, so that what the task is just doing in the kernel goes on (but for what the kernel never restarts:
 *         poll, select, sleeps; Python goes on with those by itself).
 * Rule 3: a copy of the worker that a task has forked never answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SCALER_STACKS_OFFSET 4096       /* of the answer */
#define SCALER_MOST_THREADS 64          /* besides the one that is asked first */
#define SCALER_THREAD_WAIT_US 20000     /* for one of them to begin */
#define SCALER_LOOK_US 300000           /* for all of them */

struct scaler_stack_page {              /* as scaler/cluster/stacks.py has it */
    uint64_t key;                       /* who is asked */
    uint32_t number;                    /* of this question */
    uint32_t answered;                  /* the number of the last one that was */
    uint32_t threads;                   /* that were asked */
    uint32_t silent;                    /* of these, those that do not answer */
};

static struct {
    struct scaler_stack_page *page;
    int fd;
    int signal;
    uint64_t key;
    pid_t pid;
    void (*dump)(int);                  /* faulthandler's handler */
} scaler_stacks;

static int scaler_stack_turn;           /* the thread whose turn it is; less than 0: it has begun; 0: nobody's */
static int scaler_stack_busy;

static void scaler_stack_say(const char *text, int size) {
    ssize_t n = write(scaler_stacks.fd, text, size);
    (void)n;
}

static void scaler_stack_dump(int tid) {
    char text[32] = "thread ";
    char digits[12];
    int n = 7, d = 0;
    do { digits[d++] = '0' + tid % 10; tid /= 10; } while (tid);
    while (d) text[n++] = digits[--d];
    text[n++] = '\n';
    scaler_stack_say(text, n);
    scaler_stacks.dump(scaler_stacks.signal);
}

static void scaler_stack_rest(long us) {
    struct timespec t = {0, us * 1000};
    nanosleep(&t, NULL);
}

/* Let this other thread write its stack. */
static void scaler_stack_ask(int tid, long *left_us) {
    long waited = 0;
    int turn = tid;
    __atomic_store_n(&scaler_stack_turn, tid, __ATOMIC_RELEASE);
    if (syscall(SYS_tgkill, scaler_stacks.pid, tid, scaler_stacks.signal) == 0) {
        scaler_stacks.page->threads++;
        while ((turn = __atomic_load_n(&scaler_stack_turn, __ATOMIC_ACQUIRE)) != 0 && *left_us > 0
               && (turn < 0 || waited < SCALER_THREAD_WAIT_US)) {
            scaler_stack_rest(100);
            waited += 100;
            *left_us -= 100;
        }
        if (turn == tid) scaler_stacks.page->silent++;
    }
    /* One that has not begun does not any more; one that has is waited for, since both write to the same file. */
    if (!__atomic_compare_exchange_n(&scaler_stack_turn, &tid, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        for (waited = 0; __atomic_load_n(&scaler_stack_turn, __ATOMIC_ACQUIRE) != 0 && waited < SCALER_LOOK_US; waited += 100)
            scaler_stack_rest(100);
}

static void scaler_stack_ask_all(int own) {
    char entries[1024];
    long left_us = SCALER_LOOK_US;
    long n, at;
    int asked = 0;
    int folder = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;
    while (asked < SCALER_MOST_THREADS && (n = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0)
        for (at = 0; at < n && asked < SCALER_MOST_THREADS && left_us > 0;) {
            const char *entry = entries + at;           /* ino 8, off 8, length 2, type 1, name */
            const char *name = entry + 19;
            unsigned short length;
            int tid = 0;
            memcpy(&length, entry + 16, 2);
            at += length;
            while (*name >= '0' && *name <= '9') tid = tid * 10 + (*name++ - '0');
            if (tid && tid != own) {
                asked++;
                scaler_stack_ask(tid, &left_us);
            }
        }
    close(folder);
}

static void scaler_on_stack_signal(int number) {
    struct scaler_stack_page *page = scaler_stacks.page;
    int error = errno;
    int tid = (int)syscall(SYS_gettid);
    int turn = tid;
    (void)number;
    if (getpid() != scaler_stacks.pid) {
        /* Rule 3. */
    } else if (__atomic_compare_exchange_n(&scaler_stack_turn, &turn, -tid, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        scaler_stack_dump(tid);
        __atomic_store_n(&scaler_stack_turn, 0, __ATOMIC_RELEASE);
    } else if (__atomic_load_n(&page->key, __ATOMIC_ACQUIRE) == scaler_stacks.key && page->number != page->answered
               && !__atomic_exchange_n(&scaler_stack_busy, 1, __ATOMIC_ACQ_REL)) {
        uint32_t asked = page->number;
        page->threads = page->silent = 0;
        lseek(scaler_stacks.fd, SCALER_STACKS_OFFSET, SEEK_SET);
        scaler_stack_dump(tid);
        scaler_stack_ask_all(tid);
        __atomic_store_n(&page->answered, asked, __ATOMIC_RELEASE);
        __atomic_store_n(&scaler_stack_busy, 0, __ATOMIC_RELEASE);
    }
    errno = error;
}

/* faulthandler has just been registered for this signal and descriptor. 0, or -1 with errno. */
static int scaler_answer_stacks(int fd, int number, uint64_t key) {
    struct sigaction old, own;
    void *page = mmap(NULL, SCALER_STACKS_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) return -1;
    if (sigaction(number, NULL, &old) < 0) return -1;
    scaler_stacks.page = page;
    scaler_stacks.fd = fd;
    scaler_stacks.signal = number;
    scaler_stacks.key = key;
    scaler_stacks.pid = getpid();
    scaler_stacks.dump = old.sa_handler;
    memset(&own, 0, sizeof own);
    own.sa_handler = scaler_on_stack_signal;
    own.sa_flags = SA_RESTART | SA_ONSTACK;
    return sigaction(number, &own, NULL);
}
