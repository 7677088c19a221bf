/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/launch.h"

#include "vmm/base/log.h"
#include "vmm/base/str.h"

/* Returns the same file as another VM has it, if it was read already, or NULL. */
static const struct vm_file *find_read(struct config *config, const struct vm_file *file)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		for (size_t f = 0; f < VM_FILES; f++) {
			const struct vm_file *other = vm_config_file(&config->vms[i], f);

			if (other->data != NULL && other != file &&
			    str_equal_nocase(other->path, file->path)) {
				return other;
			}
		}
	}
	return NULL;
}

static const char *key_of(size_t n)
{
	return n == 0 ? "kernel" : n == 1 ? "initrd" : "disk";
}

static void read_files_of(struct config *config, struct vm_config *vm,
			  int (*read)(struct vm_file *file, uint64_t max))
{
	for (size_t f = 0; f < VM_FILES; f++) {
		struct vm_file *file = vm_config_file(vm, f);
		const struct vm_file *same = find_read(config, file);

		if (file->path[0] == '\0') {
			continue; /* this VM has no such file */
		}
		if (same != NULL) {
			*file = *same;
		} else if (read(file, LAUNCH_FILE_MAX) != 0) {
			log_error("%s:%u: vm %s: %s = %s: %s; the VM is left out",
				  LAUNCH_CONFIG_NAME, vm->line, vm->name, key_of(f), file->path,
				  file->error);
			vm->valid = false;
		}
	}
}

void launch_read_files(struct config *config, int (*read)(struct vm_file *file, uint64_t max))
{
	for (size_t i = 0; i < config->vm_count; i++) {
		if (config->vms[i].valid) {
			read_files_of(config, &config->vms[i], read);
		}
	}
}
