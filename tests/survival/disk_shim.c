/* Preloaded into a program, this keeps a journal of what the program does to the files under one folder, and can kill
   it at any one of these operations. It knows nothing of the program.

   SHIM_ROOT   the folder, by its real path
   SHIM_LOG    where the journal goes, outside of the folder
   SHIM_KILL   kill at the operation of this number, counted from 1; SHIM_PHASE says whether before it or after it
   SHIM_PORT   also journal what is sent to this TCP port on loopback

   A record is one line, `name file offset size path_size`, the path, and `size` bytes. A file is told by its number, by
   which it is known through all renames. One operation is carried out at a time, so their order is the true one.
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_size;
static int journal = -1;
static long count, kill_at;
static int kill_after, port;

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("SHIM_LOG"), *at = getenv("SHIM_KILL"), *phase = getenv("SHIM_PHASE");
    const char *to = getenv("SHIM_PORT");
    root = getenv("SHIM_ROOT");
    if (!root || !log) { root = NULL; return; }
    root_size = strlen(root);
    kill_at = at ? atol(at) : 0;
    kill_after = phase && !strcmp(phase, "after");
    port = to ? atoi(to) : 0;
    journal = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *bytes, size_t size) {
    while (size > 0) {
        ssize_t done = syscall(SYS_write, journal, bytes, size);
        if (done <= 0) abort();
        bytes = (const char *)bytes + done;
        size -= done;
    }
}

static void note(const char *name, unsigned long long file, long long offset, const char *path, const void *data,
                 size_t size) {
    char line[128];
    int length = snprintf(line, sizeof line, "%s %llu %lld %zu %zu\n", name, file, offset, size, strlen(path));
    put(line, length);
    put(path, strlen(path));
    put(data, size);
}

static int below(const char *path) {
    return root && !strncmp(path, root, root_size) && (path[root_size] == '/' || !path[root_size]);
}

/* The full path of a name below a folder's descriptor, its dots left as they are. */
static int full(int folder, const char *name, char *path) {
    if (!root || !name) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return below(path);
    }
    char link[64];
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return below(path);
}

/* Whether a descriptor is of a file or folder of ours; then its path and number. */
static int ours(int descriptor, char *path, struct stat *status) {
    if (!root) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path) && !fstat(descriptor, status);
}

static void enter(void) {
    pthread_mutex_lock(&one_at_a_time);
    count++;
    if (kill_at == count && !kill_after) kill(getpid(), SIGKILL);
}

static void leave(void) {
    int error = errno;
    if (kill_at == count && kill_after) kill(getpid(), SIGKILL);
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

static int opened(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat before, after;
    int changes = flags & (O_CREAT | O_TRUNC);
    if (!changes || !full(folder, name, path)) return syscall(SYS_openat, folder, name, flags, mode);
    int there = !stat(path, &before);
    if (there && !(flags & O_TRUNC)) return syscall(SYS_openat, folder, name, flags, mode);
    enter();
    int descriptor = syscall(SYS_openat, folder, name, flags, mode);
    int error = errno;
    if (descriptor >= 0 && !fstat(descriptor, &after)) {
        if (there) note("truncate", after.st_ino, 0, path, "", 0);
        else note("create", after.st_ino, 0, path, "", 0);
    } else note("failed", 0, 0, path, "", 0);
    errno = error;
    leave();
    return descriptor;
}

#define MODE(flags) mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }

int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int __open_2(const char *name, int flags) { return opened(AT_FDCWD, name, flags, 0); }
int __open64_2(const char *name, int flags) { return opened(AT_FDCWD, name, flags, 0); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static ssize_t written(int descriptor, const void *data, size_t size, off_t offset, int at_offset) {
    char path[PATH_MAX];
    struct stat status;
    if (!ours(descriptor, path, &status) || !S_ISREG(status.st_mode))
        return at_offset ? syscall(SYS_pwrite64, descriptor, data, size, offset)
                         : syscall(SYS_write, descriptor, data, size);
    enter();
    off_t place = offset;
    if (!at_offset) {
        place = fcntl(descriptor, F_GETFL) & O_APPEND ? status.st_size : syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
    }
    ssize_t done = at_offset ? syscall(SYS_pwrite64, descriptor, data, size, offset)
                             : syscall(SYS_write, descriptor, data, size);
    int error = errno;
    note("write", status.st_ino, place, path, data, done > 0 ? done : 0);
    errno = error;
    leave();
    return done;
}

ssize_t write(int descriptor, const void *data, size_t size) { return written(descriptor, data, size, 0, 0); }
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset) {
    return written(descriptor, data, size, offset, 1);
}
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset) {
    return written(descriptor, data, size, offset, 1);
}

#define ON_DESCRIPTOR(name, word, arguments, call, offset) \
    int name arguments { \
        char path[PATH_MAX]; struct stat status; \
        REAL(name); \
        if (!ours(descriptor, path, &status)) return real call; \
        enter(); \
        int done = real call; \
        int error = errno; \
        note(done ? "failed" : word, status.st_ino, offset, path, "", 0); \
        errno = error; \
        leave(); \
        return done; \
    }

ON_DESCRIPTOR(fsync, "sync", (int descriptor), (descriptor), 0)
ON_DESCRIPTOR(fdatasync, "sync", (int descriptor), (descriptor), 0)
ON_DESCRIPTOR(ftruncate, "truncate", (int descriptor, off_t size), (descriptor, size), size)
ON_DESCRIPTOR(ftruncate64, "truncate", (int descriptor, off64_t size), (descriptor, size), size)

/* The new name is the data of the record. */
static int renamed(int from_folder, const char *from, int to_folder, const char *to, unsigned int flags) {
    char old[PATH_MAX], new[PATH_MAX];
    int old_is_ours = full(from_folder, from, old), new_is_ours = full(to_folder, to, new);
    if (!old_is_ours && !new_is_ours) return syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    enter();
    int done = syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int error = errno;
    note(done ? "failed" : "rename", 0, 0, old, new, strlen(new));
    errno = error;
    leave();
    return done;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renamed(from_folder, from, to_folder, to, 0);
}
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned int flags) {
    return renamed(from_folder, from, to_folder, to, flags);
}

#define ON_NAME(name, word, arguments, call, folder, target) \
    int name arguments { \
        char path[PATH_MAX]; \
        REAL(name); \
        if (!full(folder, target, path)) return real call; \
        enter(); \
        int done = real call; \
        int error = errno; \
        note(done ? "failed" : word, 0, 0, path, "", 0); \
        errno = error; \
        leave(); \
        return done; \
    }

ON_NAME(unlink, "unlink", (const char *target), (target), AT_FDCWD, target)
ON_NAME(unlinkat, "unlink", (int folder, const char *target, int flags), (folder, target, flags), folder, target)
ON_NAME(remove, "unlink", (const char *target), (target), AT_FDCWD, target)
ON_NAME(rmdir, "unlink", (const char *target), (target), AT_FDCWD, target)
ON_NAME(mkdir, "mkdir", (const char *target, mode_t mode), (target, mode), AT_FDCWD, target)
ON_NAME(mkdirat, "mkdir", (int folder, const char *target, mode_t mode), (folder, target, mode), folder, target)
ON_NAME(link, "unforeseen", (const char *from, const char *target), (from, target), AT_FDCWD, target)
ON_NAME(symlink, "unforeseen", (const char *from, const char *target), (from, target), AT_FDCWD, target)
ON_NAME(truncate, "unforeseen", (const char *target, off_t size), (target, size), AT_FDCWD, target)

/* What is sent is noted before it leaves: from then on the peer may have it. The file is the descriptor. */
ssize_t send(int descriptor, const void *data, size_t size, int flags) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    REAL(send);
    if (!port || getpeername(descriptor, (struct sockaddr *)&peer, &length) || peer.sin_family != AF_INET ||
        ntohs(peer.sin_port) != port)
        return real(descriptor, data, size, flags);
    pthread_mutex_lock(&one_at_a_time);
    note("send", descriptor, 0, "", data, size);
    ssize_t done = real(descriptor, data, size, flags);
    int error = errno;
    if (done >= 0 && (size_t)done < size) abort(); /* the record would be a lie */
    errno = error;
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}
