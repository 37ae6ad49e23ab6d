/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

void *sr_secret_alloc(size_t size)
{
    size_t mapped = whole_pages(size == 0 ? 1 : size);
    void *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sr_check(memory != MAP_FAILED);
    if (mlock(memory, mapped) != 0) {
        /* RLIMIT_MEMLOCK may be 0 in a container; the page is still never dumped. */
        sr_log(SR_LOG_WARN, "secret", "cannot lock key memory, it may reach swap", "bytes=%zu",
               mapped);
    }
    sr_check(madvise(memory, mapped, MADV_DONTDUMP) == 0);
    return memory;
}

void sr_secret_free(void *memory, size_t size)
{
    if (memory == NULL) {
        return;
    }
    size_t mapped = whole_pages(size == 0 ? 1 : size);
    explicit_bzero(memory, mapped);
    munmap(memory, mapped);
}

void sr_secret_wipe(void *memory, size_t size)
{
    explicit_bzero(memory, size);
}

void sr_secret_protect_process(void)
{
    struct rlimit none = {0, 0};
    sr_check(setrlimit(RLIMIT_CORE, &none) == 0);
#ifndef __SANITIZE_ADDRESS__ /* its leak check attaches to the process */
    sr_check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
}
