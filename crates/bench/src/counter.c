/* A plugin for QEMU's user mode that counts instructions, this process's alone, and adds a line with their number to a
 * file: `-plugin counter.so,to=FILE`. What it needs of qemu-plugin.h is declared here, for few systems have that file. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct block;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct block *);

__attribute__((visibility("default"))) int qemu_plugin_version = VERSION;

static uint64_t count;
static char path[4096];

/* By any of the process's threads. */
static void runs(unsigned thread, void *instructions) {
    (void)thread;
    __atomic_fetch_add(&count, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translated(plugin_id id, struct block *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, runs, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void ends(plugin_id id, void *unused) {
    (void)id, (void)unused;
    FILE *file = fopen(path, "a");
    if (file) {
        fprintf(file, "%llu\n", (unsigned long long)count);
        fclose(file);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *qemu, int words, char **word) {
    (void)qemu;
    if (words != 1 || strncmp(word[0], "to=", 3) != 0 || strlen(word[0]) >= sizeof path)
        return 1;
    strcpy(path, word[0] + 3);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ends, 0);
    return 0;
}
