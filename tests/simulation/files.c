/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/files.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

void files_make_dir(const char *path)
{
    sr_check(mkdir(path, 0700) == 0);
}

void files_remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    sr_check(dir != NULL);
    const struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            sr_check(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
        }
    }
    closedir(dir);
    sr_check(rmdir(path) == 0);
}
