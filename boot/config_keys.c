/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of umbra.conf: one row for each, with all facts about it. */
#include "boot/config_priv.h"

#include "vmm/base/str.h"
#include "vmm/sched.h"

#define MEMORY_MIN (1ul << 20)
#define WINDOW_MIN (260ul << 10) /* the least for one VM with one vCPU (ept/pager.h) */
#define WINDOW_MAX (64ul << 30)

/* --- Words --- */

static const struct config_choice exits[] = { { "stay", CONFIG_EXIT_STAY },
					      { "poweroff", CONFIG_EXIT_POWEROFF },
					      { NULL, 0 } };
static const struct config_choice on_off[] = { { "on", true }, { "off", false }, { NULL, 0 } };
static const struct config_choice yes_no[] = { { "yes", true }, { "no", false }, { NULL, 0 } };
static const struct config_choice on_panics[] = { { "stay", CONFIG_ON_PANIC_STAY },
						  { "reboot", CONFIG_ON_PANIC_REBOOT },
						  { NULL, 0 } };
static const struct config_choice tme_words[] = { { "adopt", false },
						  { "activate", true },
						  { NULL, 0 } };
static const struct config_choice tpm_words[] = { { "open", CONFIG_TPM_OPEN },
						  { "seal", CONFIG_TPM_SEAL },
						  { "report", CONFIG_TPM_REPORT },
						  { NULL, 0 } };
static const struct config_choice attest_words[] = { { "auto", false },
						     { "always", true },
						     { NULL, 0 } };
static const struct config_choice iommu_words[] = { { "auto", CONFIG_IOMMU_AUTO },
						    { "require", CONFIG_IOMMU_REQUIRE },
						    { "off", CONFIG_IOMMU_OFF },
						    { NULL, 0 } };
static const struct config_choice levels[] = { { "error", LOG_ERROR },
					       { "warn", LOG_WARN },
					       { "info", LOG_INFO },
					       { "debug", LOG_DEBUG },
					       { NULL, 0 } };
static const struct config_choice ciphers[] = { { "auto", 0 },	  { "mbedtls", 0 }, { "aesni", 0 },
						{ "vaes256", 0 }, { "vaes512", 0 }, { NULL, 0 } };
static const struct config_choice key_stores[] = { { "memory", true },
						   { "registers", false },
						   { NULL, 0 } };
static const struct config_choice engines[] = { { "auto", VM_ENGINE_AUTO },
						{ "tme-mk", VM_ENGINE_TME_MK },
						{ "software", VM_ENGINE_SOFTWARE },
						{ "none", VM_ENGINE_NONE },
						{ NULL, 0 } };
static const struct config_choice integrities[] = { { "auto", VM_INTEGRITY_AUTO },
						    { "on", VM_INTEGRITY_ON },
						    { "off", VM_INTEGRITY_OFF },
						    { NULL, 0 } };
static const struct config_choice signatures[] = { { "umbra", VM_SIGNATURE_UMBRA },
						   { "kvm", VM_SIGNATURE_KVM },
						   { NULL, 0 } };
static const struct config_choice on_end[] = { { "restart", VM_ON_END_RESTART },
					       { "destroy", VM_ON_END_DESTROY },
					       { "keep", VM_ON_END_KEEP },
					       { NULL, 0 } };
static const struct config_choice vias[] = { { "reserved", SHARE_VIA_RESERVED },
					     { "dax", SHARE_VIA_DAX },
					     { "pci", SHARE_VIA_PCI },
					     { NULL, 0 } };
static const struct config_choice consoles[] = { { "serial", false },
						 { "virtio", true },
						 { NULL, 0 } };
static const struct config_choice leaves[] = {
	{ "auto", SIZE_1G }, { "4K", PAGE_SIZE }, { "2M", SIZE_2M }, { "1G", SIZE_1G }, { NULL, 0 }
};

static const struct config_choice vm_keys[] = { { "random", VM_KEY_RANDOM },
						{ "file:PATH", VM_KEY_FILE },
						{ "passphrase:PATH",
						  CONFIG_KEY_FORM(VM_KEY_FORM_PASSPHRASE) },
						{ "tpm:PATH", CONFIG_KEY_FORM(VM_KEY_FORM_TPM) },
						{ "platform", VM_KEY_PLATFORM },
						{ "none", VM_KEY_NONE },
						{ NULL, 0 } };
static const struct config_choice share_keys[] = { { "random", VM_KEY_RANDOM },
						   { "file:PATH", VM_KEY_FILE },
						   { "tpm:PATH", CONFIG_KEY_FORM(VM_KEY_FORM_TPM) },
						   { "platform", VM_KEY_PLATFORM },
						   { NULL, 0 } };

#define FIELD(type, member) \
	.offset = offsetof(struct type, member), .bytes = sizeof(((struct type *)0)->member)

const struct config_key config_keys[] = {
	{
		.section = "host",
		.name = "exit",
		.help = "What happens when no VM runs any more. stay: Umbra logs it and waits "
			"for o (off) or r (reset). poweroff: the machine is turned off.",
		.parse = config_parse_choice,
		.choices = exits,
		.standard = "stay",
		FIELD(config, exit),
	},
	{
		.section = "host",
		.name = "serial",
		.help = "The serial port for the log, the shell and the consoles. auto: the port "
			"in ACPI's table SPCR, else the one in DBG2, else COM1. Numbers are "
			"hexadecimal. mmio: registers of one byte side by side; mmio32: "
			"registers four bytes apart; both lie below 4 GiB. pci: the first BAR of "
			"a serial port. The speed must divide 115200, which is the default. If "
			"the port does not answer, this is logged, and auto is used.",
		.parse = config_parse_serial,
		.allowed = "auto, none, com1 to com4, port:3f8, mmio:ADDRESS, mmio32:ADDRESS "
			   "or pci:00:16.3, and may end in a speed, such as ,9600",
		.standard = "auto",
		FIELD(config, serial),
	},
	{
		.section = "host",
		.name = "shell",
		.help = "off: no key leads from a VM's console into Umbra's shell. The escape "
			"key goes to the guest, and all that is typed goes to the first VM that "
			"runs.",
		.parse = config_parse_choice,
		.choices = on_off,
		.standard = "on",
		FIELD(config, shell),
	},
	{
		.section = "host",
		.name = "escape-key",
		.help = "The key that leads from a VM to the shell and back. Pressed twice within "
			"a second, it goes to the VM itself. After ctrl- comes a letter, or one "
			"of \\, ], ^ and _.",
		.parse = config_parse_escape,
		.allowed = "a key such as ctrl-^ or ctrl-a, but h, i, j, m and [ have other uses",
		.standard = "ctrl-^",
		FIELD(config, escape_key),
	},
	{
		.section = "host",
		.name = "log",
		.help = "The lines of the log that are shown. The shell shows at least info, "
			"because its answers are lines of the log.",
		.parse = config_parse_choice,
		.choices = levels,
		.standard = "info",
		FIELD(config, log_level),
	},
	{
		.section = "host",
		.name = "window",
		.help = "Memory in clear that all VMs of the software engine share. It needs at "
			"least 256K for each vCPU and 4K for each VM. auto: the size of the "
			"last-level cache, but at least 16M and at most an eighth of the "
			"memory. With a wrong value there is no window, and VMs that need it "
			"do not start.",
		.parse = config_parse_window,
		.allowed = "auto, or 260K to 64G in whole 4K pages",
		.min = WINDOW_MIN,
		.max = WINDOW_MAX,
		.standard = "auto",
		FIELD(config, window_bytes),
		.zero_if_wrong = true,
	},
	{
		.section = "host",
		.name = "on-panic",
		.help = "What follows a crash of Umbra itself. stay: its text stays on the "
			"screen. reboot: the machine resets itself, and the next boot shows the "
			"text.",
		.parse = config_parse_choice,
		.choices = on_panics,
		.standard = "stay",
		FIELD(config, on_panic),
	},
	{
		.section = "host",
		.name = "engine-cipher",
		.help = "The code that the software engine encrypts with. auto: the fastest "
			"that the CPU can run.",
		.parse = config_parse_word,
		.choices = ciphers,
		.standard = "auto",
		FIELD(config, engine_cipher),
	},
	{
		.section = "host",
		.name = "key-store",
		.help = "Where the software engine keeps the keys of pages. memory: in Umbra's "
			"memory. registers: memory holds them only wrapped (encrypted), under a "
			"key that lies in the debug registers of the CPUs and nowhere else. Each "
			"page fault then takes longer, and guests have no hardware breakpoints. "
			"registers needs AVX-512, and no other hypervisor below Umbra. Where it "
			"cannot be had, and with a word that is neither of the two, no VM runs "
			"with engine = software, no VM can be parked, and no disk can have cow. "
			"The keys of integrity and the secrets of key files stay in memory.",
		.parse = config_parse_choice,
		.choices = key_stores,
		.standard = "memory",
		FIELD(config, keys_in_memory),
		.zero_if_wrong = true,
	},
	{
		.section = "host",
		.name = "tme",
		.help = "adopt: TME-MK is used as firmware has set it up. activate: if "
			"firmware left it off and did not lock IA32_TME_ACTIVATE, Umbra switches "
			"it on with bypass, so that memory stays readable. If the CPU does not "
			"support bypass, TME stays off.",
		.parse = config_parse_choice,
		.choices = tme_words,
		.standard = "adopt",
		FIELD(config, tme_activate),
	},
	{
		.section = "host",
		.name = "tpm",
		.help = "open: keys of tpm:PATH are opened. seal: where PATH is missing, the key "
			"file of the same name with .key in place of .tpm is sealed to what this "
			"machine is and has measured. The next start that opens PATH overwrites "
			"and removes the key file. report: \\umbra\\report gets what make seal "
			"needs to seal keys on another machine.",
		.parse = config_parse_choice,
		.choices = tpm_words,
		.standard = "open",
		FIELD(config, tpm),
	},
	{
		.section = "host",
		.name = "attest",
		.help = "When Umbra writes a report that the TPM signs, if there is a nonce on the "
			"stick. auto: always, but for one case: the TPM opens keys, and DMA is "
			"shut out before that, so the stick cannot be written any more. always: "
			"in this case, too. Then the keys are opened while devices can still "
			"read memory.",
		.parse = config_parse_choice,
		.choices = attest_words,
		.standard = "auto",
		FIELD(config, attest_always),
	},
	{
		.section = "host",
		.name = "iommu",
		.help = "auto: devices reach no memory and raise no interrupts if the machine "
			"has an IOMMU (VT-d); what is left open is logged. require: no VM "
			"starts if a device can still do one of the two; a wrong word has the same "
			"effect. off: the IOMMU stays as firmware has set it up.",
		.parse = config_parse_choice,
		.choices = iommu_words,
		.standard = "auto",
		FIELD(config, iommu),
		.zero_if_wrong = true,
	},
	{
		.section = "vm",
		.name = "memory",
		.help = "The VM's memory.",
		.parse = config_parse_size,
		.min = MEMORY_MIN,
		.max = CONFIG_MEMORY_MAX,
		.example = "256M",
		FIELD(vm_config, memory_bytes),
	},
	{
		.section = "vm",
		.name = "vcpus",
		.help = "The VM's virtual CPUs.",
		.parse = config_parse_number,
		.allowed = "a number from 1 to %lu",
		.min = 1,
		.max = VM_VCPU_MAX,
		.standard = "1",
		FIELD(vm_config, vcpus),
	},
	{
		.section = "vm",
		.name = "weight",
		.help = "The share of CPU time that its vCPUs get beside those of other VMs.",
		.parse = config_parse_number,
		.allowed = "a number from 1 to %lu",
		.min = 1,
		.max = SCHED_WEIGHT_MAX,
		.standard = "100",
		FIELD(vm_config, weight),
	},
	{
		.section = "vm",
		.name = "affinity",
		.help = "The CPUs that may run the VM. The VM is refused if the machine has none "
			"of them.",
		.parse = config_parse_cpus,
		.allowed = "a list of CPUs below %lu, such as 0,2-3",
		.max = CPU_MAX,
		.absent = "all CPUs",
		FIELD(vm_config, affinity),
	},
	{
		.section = "vm",
		.name = "kernel",
		.help = "The kernel, a bzImage.",
		.parse = config_parse_path,
		.allowed = "a whole path, such as \\umbra\\vmlinuz",
		.example = "\\umbra\\vmlinuz",
		FIELD(vm_config, kernel),
	},
	{
		.section = "vm",
		.name = "initrd",
		.help = "One initial RAM disk, or several, such as \\umbra\\ucode.img, "
			"\\umbra\\initrd.img: the kernel finds them one after the other. At most "
			"127 characters in all.",
		.parse = config_parse_paths,
		.allowed = "one whole path, or several separated by commas",
		.absent = "none",
		FIELD(vm_config, initrd),
	},
	{
		.section = "vm",
		.name = "disk",
		.help = "A virtio disk that shows an image file of the stick. Each line adds one: "
			"/dev/vda, /dev/vdb and so on. ro: the VM cannot write to it, and several "
			"VMs can use the same image; this is the default without cow. cow = SIZE: "
			"what the VM writes is kept in memory of that size, which is reserved when "
			"the VM starts. It outlives a reset, and is lost when the VM is "
			"destroyed. When it is full, writes fail. The stick is never written.",
		.parse = config_parse_disk,
		.allowed = "a whole path, and perhaps ro or cow = SIZE after it, such as "
			   "\\umbra\\root.img, cow = 64M; SIZE is in whole 4K pages",
		.max = VM_DISK_COW_MAX,
		.absent = "none",
		FIELD(vm_config, disks),
		.list = true,
	},
	{
		.section = "vm",
		.name = "net",
		.help = "A virtio network device. Each line adds one. Devices with the same net "
			"name are connected by a switch. mac: the device's address; without it "
			"the address is derived from the VM's name. offload = off: the guest's "
			"driver has to compute checksums and to split TCP segments itself.",
		.parse = config_parse_net,
		.allowed = "a name of letters, digits, '-', '_' and '.', which mac = ADDRESS and "
			   "offload = on or off may follow, such as lan0, mac = 52:54:00:12:34:56",
		.absent = "none",
		FIELD(vm_config, nets),
		.list = true,
	},
	{
		.section = "vm",
		.name = "cmdline",
		.help = "The kernel's command line. A semicolon after a space ends it, except "
			"within double quotes, which stay for the kernel to read.",
		.parse = config_parse_text,
		.allowed = "text of at most %lu characters",
		.max = VM_CMDLINE_MAX - 1,
		.absent = "empty",
		FIELD(vm_config, cmdline),
	},
	{
		.section = "vm",
		.name = "autostart",
		.help = "no: the VM is off until it is started in the shell.",
		.parse = config_parse_choice,
		.choices = yes_no,
		.standard = "yes",
		FIELD(vm_config, autostart),
	},
	{
		.section = "vm",
		.name = "engine",
		.help = "What encrypts the VM's memory. tme-mk: the memory controller, under a "
			"KeyID of the VM's own; refused where no KeyID is free. software: the "
			"software engine. none: nothing. auto: TME-MK where a KeyID is free, "
			"else the software engine, which is logged, and never none.",
		.parse = config_parse_choice,
		.choices = engines,
		.standard = "auto",
		FIELD(vm_config, engine),
	},
	{
		.section = "vm",
		.name = "integrity",
		.help = "on: the software engine notices if an attacker changes a sealed page in "
			"memory, or puts an older one back, and ends the VM. This also covers "
			"kernels, initrds and disk images. auto: on where the CPU has VPCLMULQDQ "
			"and engine-cipher uses it.",
		.parse = config_parse_choice,
		.choices = integrities,
		.standard = "auto",
		FIELD(vm_config, integrity),
	},
	{
		.section = "vm",
		.name = "clear",
		.help = "Ranges of the VM's memory that no key of its own encrypts, for buffers "
			"that devices or other programs must read: size@address, both in whole "
			"4K pages. They lie under KeyID 0, whatever the engine: in clear in "
			"DRAM, unless the machine has TME without bypass.",
		.parse = config_parse_range,
		.allowed = "at most %lu ranges of whole 4K pages that do not overlap, such as "
			   "16M@1G, 64K@2M",
		.max = VM_CLEAR_MAX,
		.absent = "none",
		FIELD(vm_config, clear),
		.list = true,
	},
	{
		.section = "vm",
		.name = "key",
		.help = "Where the memory's key comes from. random: drawn at each start. "
			"file:PATH: derived from that file and drawn bytes. passphrase:PATH: "
			"derived from drawn bytes and a passphrase that is typed in the shell; "
			"the file shows whether it is the right one. tpm:PATH: as file:PATH, but "
			"the machine's TPM has sealed the file; PATH ends in .tpm. platform: the "
			"machine's own key (TME, KeyID 0), refused where TME is off or "
			"bypassed. none: only with engine = none.",
		.parse = config_parse_source,
		.choices = vm_keys,
		.absent = "random; none with engine = none",
		FIELD(vm_config, key),
	},
	{
		.section = "vm",
		.name = "rekey-after",
		.help = "When the VM's key is this old, its memory moves to a fresh KeyID with "
			"a fresh key.",
		.parse = config_parse_time,
		.allowed = "a time of at most %lu days, such as 45m, 12h or 7d",
		.max = 365,
		.absent = "never",
		FIELD(vm_config, rekey_after_s),
	},
	{
		.section = "vm",
		.name = "drain",
		.help = "For the software engine: a page that the VM has not used for this time "
			"is sealed, even if the window has room for it. The time is exact to a "
			"second or two. Pages that VMs share are not sealed by this.",
		.parse = config_parse_time,
		.allowed = "a time of at most %lu day, such as 10s, 5m or 1h",
		.max = 1,
		.absent = "never",
		FIELD(vm_config, drain_s),
	},
	{
		.section = "vm",
		.name = "signature",
		.help = "The hypervisor's name in CPUID leaf 4000_0000H (guest/README.md).",
		.parse = config_parse_choice,
		.choices = signatures,
		.standard = "umbra",
		FIELD(vm_config, signature),
	},
	{
		.section = "vm",
		.name = "console",
		.help = "serial: the VM's console is its serial port, ttyS0. virtio: the VM has a "
			"virtio console, hvc0, as well. The output of both is shown. Input goes "
			"to hvc0 once its driver runs.",
		.parse = config_parse_choice,
		.choices = consoles,
		.standard = "serial",
		FIELD(vm_config, virtio_console),
	},
	{
		.section = "vm",
		.name = "leaf",
		.help = "The largest page of the VM's EPT.",
		.parse = config_parse_choice,
		.choices = leaves,
		.standard = "auto",
		FIELD(vm_config, max_leaf),
	},
	{
		.section = "vm",
		.name = "on-crash",
		.help = "What becomes of the VM when it has crashed: see How VMs end in "
			"boot/README.md.",
		.parse = config_parse_choice,
		.choices = on_end,
		.standard = "destroy",
		FIELD(vm_config, on_crash),
	},
	{
		.section = "vm",
		.name = "on-reboot",
		.help = "What becomes of the VM when the guest has asked for a reset.",
		.parse = config_parse_choice,
		.choices = on_end,
		.standard = "restart",
		FIELD(vm_config, on_reboot),
	},
	{
		.section = "vm",
		.name = "on-poweroff",
		.help = "What becomes of the VM when the guest has powered off.",
		.parse = config_parse_choice,
		.choices = on_end,
		.standard = "destroy",
		FIELD(vm_config, on_poweroff),
	},
	{
		.section = "share",
		.name = "size",
		.help = "Memory that the members of the share have in common. With via = dax it "
			"must be a multiple of 2M, with via = pci a power of two.",
		.parse = config_parse_size,
		.min = PAGE_SIZE,
		.max = CONFIG_MEMORY_MAX,
		.example = "2M",
		FIELD(share_config, bytes),
	},
	{
		.section = "share",
		.name = "members",
		.help = "The VMs that see the share. A member reads and writes, except with :ro "
			"after its name.",
		.parse = config_parse_member,
		.allowed = "at most %lu VMs, such as alpha:rw, beta:ro",
		.max = SHARE_MEMBERS_MAX,
		.example = "alpha:rw, beta:ro",
		.offset = 0,
		.bytes = sizeof(struct share_config),
		.list = true,
	},
	{
		.section = "share",
		.name = "key",
		.help = "Where the key comes from, as for a VM.",
		.parse = config_parse_source,
		.choices = share_keys,
		.standard = "random",
		FIELD(share_config, key),
	},
	{
		.section = "share",
		.name = "via",
		.help = "How a guest finds the share. reserved: a reserved range of the E820 "
			"map, for /dev/mem. dax: Linux makes /dev/dax0.0 of it. pci: an ivshmem "
			"device with doorbells.",
		.parse = config_parse_choice,
		.choices = vias,
		.standard = "reserved",
		FIELD(share_config, via),
	},
};
_Static_assert(ARRAY_COUNT(config_keys) <= 64, "config.c has a bit for each key");
const size_t config_key_count = ARRAY_COUNT(config_keys);

const struct config_key *config_find_key(const char *name, const struct config_key *after)
{
	const struct config_key *key = after != NULL ? after + 1 : config_keys;

	for (; key < config_keys + ARRAY_COUNT(config_keys); key++) {
		if (str_equal_nocase(key->name, name)) {
			return key;
		}
	}
	return NULL;
}

/* Writes a size in the largest unit that gives a whole number. */
static size_t print_size(char *buf, size_t cap, uint64_t bytes)
{
	const uint32_t shift = bytes % (1ul << 30) == 0 ? 30 : bytes % (1ul << 20) == 0 ? 20 : 10;

	return str_printf(buf, cap, "%lu%c", bytes >> shift,
			  shift == 30	? 'G'
			  : shift == 20 ? 'M'
					: 'K');
}

const char *config_allowed(const struct config_key *key, char buf[CONFIG_ALLOWED_MAX])
{
	size_t used;

	if (key->allowed != NULL) {
		str_printf(buf, CONFIG_ALLOWED_MAX, key->allowed, key->max);
		return buf;
	}
	if (key->choices == NULL) {
		used = print_size(buf, CONFIG_ALLOWED_MAX, key->min);
		used += str_printf(buf + used, CONFIG_ALLOWED_MAX - used, " to ");
		used += print_size(buf + used, CONFIG_ALLOWED_MAX - used, key->max);
		str_printf(buf + used, CONFIG_ALLOWED_MAX - used, " in whole 4K pages");
		return buf;
	}
	used = str_printf(buf, CONFIG_ALLOWED_MAX, "one of");
	for (const struct config_choice *c = key->choices; c->word != NULL; c++) {
		used += str_printf(buf + used, CONFIG_ALLOWED_MAX - used, "%s %s",
				   c == key->choices ? "" : ",", c->word);
	}
	return buf;
}
