/* A fork whose child is a child of this process's parent: the new process is a sibling of the one that forks.
 *
 * So a supervisor is the parent of workers that another process of its has forked: it fetches their exit codes and what
 * memory they took, and the kernel kills them with it (PR_SET_PDEATHSIG), as if it had started them itself. The other
 * ways to that are worse: a process that forks and fetches the exit codes takes all of its workers along when it is
 * killed, and a supervisor that adopts orphans (PR_SET_CHILD_SUBREAPER) adopts those that tasks have left, too.
 *
 * The C library's fork cannot do that, so the system call is made here, with the flags that the C library gives it and
 * CLONE_PARENT. What its fork does besides is for processes with several threads (locks that another thread may hold),
 * but for two things, which are done here: the thread's own number is written where the C library looks for it, and its
 * list of robust locks is made known anew. Where the kernel does not say where that number stands, nothing is forked.
 *
 * Rule 1: only for a process of one thread.
 * Rule 2: handlers of pthread_atfork are not called.
 */
#include <errno.h>
#include <stdint.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define SCALER_SYS_CLONE3 435           /* on every architecture; older headers do not have it */
#define SCALER_PR_GET_TID_ADDRESS 40

struct scaler_clone_args {              /* struct clone_args of Linux 5.3 */
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

/* As fork: 0 in the child, its number in the parent, or less than 0: the negative error. */
static long scaler_fork_sibling(void) {
    pid_t *tid = NULL;
    void *robust = NULL;
    size_t robust_size = 0;
    if (prctl(SCALER_PR_GET_TID_ADDRESS, &tid, 0, 0, 0) < 0) return -errno;
    if (tid == NULL || *tid != (pid_t)syscall(SYS_gettid)) return -ENOTSUP;
    if (syscall(SYS_get_robust_list, 0, &robust, &robust_size) < 0) return -errno;
    struct scaler_clone_args args = {
        .flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,   /* its end is told as that of this one */
        .child_tid = (uint64_t)(uintptr_t)tid,
    };
    long pid = syscall(SCALER_SYS_CLONE3, &args, sizeof args);
    if (pid < 0) return -errno;
    if (pid == 0 && robust != NULL) syscall(SYS_set_robust_list, robust, robust_size);
    return pid;
}
