/* SPDX-License-Identifier: Apache-2.0 */
/* boot/config.c: each key, each error with its line, and damage of every kind. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/config.h"
#include "vmm/base/err.h"

static struct config config;

/* Passes the text without a terminator, so that ASan detects a read beyond it. */
static int parse(const char *text, size_t bytes)
{
	char *copy = malloc(bytes);
	int err;

	memcpy(copy, text, bytes);
	err = config_parse("umbra.conf", copy, bytes, &config);
	free(copy);
	return err;
}

/* A key that a file or a passphrase gives, and words that look like one. */
TEST(keys_of_files, fake_setup, fake_teardown)
{
	static const char text[] = "[vm a]\nmemory=1M\nkernel=\\k\nkey = PassPhrase:/u/a.pass\n"
				   "[vm b]\nmemory=1M\nkernel=\\k\nkey = passphrase:PATH\n"
				   "[vm c]\nmemory=1M\nkernel=\\k\nkey = passphrase\n"
				   "[vm d]\nmemory=1M\nkernel=\\k\nkey = file\n"
				   "[vm e]\nmemory=1M\nkernel=\\k\nkey = file:PATH\n"
				   "[vm f]\nmemory=1M\nkernel=\\k\nkey = random:\\u\n"
				   "[share s]\nsize=4K\nmembers=a\nkey=passphrase:\\u\\a.pass\n";

	assert_int_equal(parse(text, sizeof(text) - 1), ERR_FORMAT);
	assert_true(config.vms[0].valid);
	assert_int_equal(config.vms[0].key.kind, VM_KEY_FILE);
	assert_int_equal(config.vms[0].key.form, VM_KEY_FORM_PASSPHRASE);
	assert_string_equal(config.vms[0].key.file.path, "\\u\\a.pass");
	for (size_t i = 1; i < config.vm_count; i++) {
		assert_false(config.vms[i].valid);
	}
	assert_int_equal(config.error_count, 6);
	assert_false(config.shares[0].valid); /* a share starts with its first member */
	assert_non_null(strstr(fake_log_text(),
			       "key = passphrase must be one of random, file:PATH, "
			       "passphrase:PATH, tpm:PATH, platform, none"));
}

#define GOOD_VM "memory=256M\nkernel=\\umbra\\vmlinuz\nengine=none\n"

TEST(everything_given, fake_setup, fake_teardown)
{
	static const char text[] = "\xef\xbb\xbf; a comment with \xc3\xa4\r\n"
				   "[host]\r\n"
				   "on-panic = Reboot\r\n"
				   "exit = poweroff   ; and one behind a value, \xc3\xa4\r\n"
				   "log  = debug\r\n"
				   "shell = OFF\r\n"
				   "window = 2M\r\n"
				   "escape-key = Ctrl-a\r\n"
				   "serial = COM2,9600\r\n"
				   "engine-cipher = VAES256\r\n"
				   "key-store = Registers\r\n"
				   "[vm alpha-1]\r\n"
				   "Memory    = 512m\r\n"
				   "vcpus     = 2\r\n"
				   "weight    = 250\r\n"
				   "rekey-after = 12h\r\n"
				   "affinity  = 0,2-3,255\r\n"
				   "kernel    = /umbra/vmlinuz\r\n"
				   "initrd    = \\umbra\\initrd.img\r\n"
				   "cmdline   = console=ttyS0 quiet a=b;c # d\r\n"
				   "engine    = software\r\n"
				   "key       = File:/umbra/alpha.key\r\n"
				   "signature = KVM\r\n"
				   "on-crash  = Restart\r\n"
				   "on-reboot = keep\r\n"
				   "on-poweroff = keep\r\n"
				   "leaf      = 2m";
	const struct vm_config *vm = &config.vms[0];

	assert_int_equal(parse(text, sizeof(text) - 1), 0);
	assert_string_equal(fake_log_text(), "");
	assert_int_equal(config.error_count, 0);
	assert_int_equal(config.exit, CONFIG_EXIT_POWEROFF);
	assert_false(config.shell);
	assert_int_equal(config.on_panic, CONFIG_ON_PANIC_REBOOT);
	assert_int_equal(config.log_level, LOG_DEBUG);
	assert_int_equal(config.window_bytes, 2 << 20);
	assert_string_equal(config.engine_cipher, "vaes256");
	assert_false(config.keys_in_memory);
	assert_int_equal(config.vm_count, 1);
	assert_true(vm->valid);
	assert_string_equal(vm->name, "alpha-1");
	assert_int_equal(config.escape_key, 1);
	assert_int_equal(vm->line, 12);
	assert_int_equal(config.serial.kind, CONFIG_SERIAL_PLACE);
	assert_int_equal(config.serial.place.address, 0x2f8);
	assert_int_equal(config.serial.place.divisor, 12);
	assert_int_equal(vm->memory_bytes, 512ul << 20);
	assert_int_equal(vm->vcpus, 2);
	assert_int_equal(vm->weight, 250);
	assert_int_equal(vm->rekey_after_s, 12 * 3600);
	assert_int_equal(vm->affinity[0], 0xd);
	assert_int_equal(vm->affinity[3], BIT(63));
	assert_string_equal(vm->kernel.path, "\\umbra\\vmlinuz");
	assert_string_equal(vm->initrd.path, "\\umbra\\initrd.img");
	assert_string_equal(vm->cmdline, "console=ttyS0 quiet a=b;c # d");
	assert_int_equal(vm->engine, VM_ENGINE_SOFTWARE);
	assert_int_equal(vm->key.kind, VM_KEY_FILE);
	assert_string_equal(vm->key.file.path, "\\umbra\\alpha.key");
	assert_int_equal(vm->signature, VM_SIGNATURE_KVM);
	assert_int_equal(vm->max_leaf, SIZE_2M);
	assert_int_equal(vm->on_crash, VM_ON_END_RESTART);
	assert_int_equal(vm->on_reboot, VM_ON_END_KEEP);
	assert_int_equal(vm->on_poweroff, VM_ON_END_KEEP);
}

TEST(serial_lines, fake_setup, fake_teardown)
{
	static const struct {
		const char *value;
		enum config_serial_kind kind;
		bool memory;
		uint8_t stride;
		uint64_t address;
		uint32_t pci;
		uint16_t divisor;
	} good[] = {
		{ "auto", CONFIG_SERIAL_AUTO, false, 1, 0, 0, 1 },
		{ "auto,57600", CONFIG_SERIAL_AUTO, false, 1, 0, 0, 2 },
		{ "NONE", CONFIG_SERIAL_NONE, false, 0, 0, 0, 1 },
		{ "com4", CONFIG_SERIAL_PLACE, false, 1, 0x2e8, 0, 1 },
		{ "port:0xE000", CONFIG_SERIAL_PLACE, false, 1, 0xe000, 0, 1 },
		{ "mmio:fe034000,300", CONFIG_SERIAL_PLACE, true, 1, 0xfe034000, 0, 384 },
		{ "MMIO32:0xfe034000", CONFIG_SERIAL_PLACE, true, 4, 0xfe034000, 0, 1 },
		{ "pci:ff:1f.7", CONFIG_SERIAL_PCI, false, 1, 0, 0xffff, 1 },
		{ "pci:00:16.3,19200", CONFIG_SERIAL_PCI, false, 1, 0, 0xb3, 6 },
	};
	static const char *const bad[] = {
		"com5",	  "com",	 "com1x",      "port:",	    "port:0",	      "port:ffff",
		"mmio:0", "mmio32:2",	 "pci:0:20.0", "pci:0:1.8", "pci:100:1.0",    "pci:1.2",
		"com1,",  "com1,115201", "com1,7",     "none,9600", "mmio:100000000",
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		const struct config_serial *serial = &config.serial;
		int n = snprintf(text, sizeof(text), "[host]\nserial=%s\n[vm a]\n" GOOD_VM,
				 good[i].value);

		assert_int_equal(parse(text, (size_t)n), 0);
		assert_int_equal(serial->kind, good[i].kind);
		assert_int_equal(serial->place.memory, good[i].memory);
		assert_int_equal(serial->place.stride, good[i].stride);
		assert_int_equal(serial->place.address, good[i].address);
		assert_int_equal(serial->pci, good[i].pci);
		assert_int_equal(serial->place.divisor, good[i].divisor);
		assert_int_equal(serial->speed_given, strchr(good[i].value, ',') != NULL);
	}
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		int n = snprintf(text, sizeof(text), "[host]\nserial=%s\n[vm a]\n" GOOD_VM, bad[i]);

		fake_log_reset();
		if (parse(text, (size_t)n) == 0 ||
		    strstr(fake_log_text(), "must be auto, none, com1 to com4") == NULL) {
			fail_msg("serial=%s was taken", bad[i]);
		}
		assert_int_equal(config.serial.kind, CONFIG_SERIAL_AUTO);
	}
}

/*
 * Quotes keep a semicolon from starting a comment, and stay in the value: the kernel parses them.
 */
TEST(quotes, fake_setup, fake_teardown)
{
	static const struct {
		const char *line, *cmdline;
	} good[] = {
		{ "a=\"b ;c\" d ; comment", "a=\"b ;c\" d" },
		{ "a=\"b\t;c\" \"d ;; e\"", "a=\"b\t;c\" \"d ;; e\"" },
		{ "a=\"b ;c", "a=\"b" },       /* the quote is not closed */
		{ "a ; \"b ;c\"", "a" },       /* quotes within a comment */
		{ "a=\"b\" ;c\"", "a=\"b\"" }, /* after the quotes */
		{ "a ;\xc3\xa4", "a" },
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		int n = snprintf(text, sizeof(text), "[vm a]\n" GOOD_VM "cmdline = %s\n",
				 good[i].line);

		assert_int_equal(parse(text, (size_t)n), 0);
		assert_string_equal(config.vms[0].cmdline, good[i].cmdline);
	}
	assert_string_equal(fake_log_text(), "");
	strcpy(text, "[vm a]\n" GOOD_VM "cmdline = \" ;\xc3\xa4\"\n");
	assert_int_equal(parse(text, strlen(text)), ERR_FORMAT); /* this is not a comment */
	assert_non_null(strstr(fake_log_text(), "umbra.conf:5: vm a: byte c3 is not ASCII"));
}

TEST(several_initrds, fake_setup, fake_teardown)
{
	static const char text[] = "[VM a]\n" GOOD_VM "initrd = \\one.img ,  /two,x.img,\\three\n"
				   "autostart = No\n[HOST]\nexit=poweroff\n"
				   "[vm b]\n" GOOD_VM "kernel=\\k\n";
	static const char bad[] = "[vm a]\nmemory=1M\nkernel=\\a,\\b\n";

	assert_int_equal(parse(text, sizeof(text) - 1), ERR_FORMAT); /* the key kernel twice */
	assert_string_equal(config.vms[0].initrd.path, "\\one.img,\\two,x.img,\\three");
	assert_true(config.vms[0].valid);
	assert_false(config.vms[0].autostart);
	assert_true(config.vms[1].autostart);
	assert_int_equal(config.exit, CONFIG_EXIT_POWEROFF);
	assert_int_equal(parse(bad, sizeof(bad) - 1), ERR_FORMAT);
	assert_non_null(strstr(fake_log_text(), "kernel = \\a,\\b is more than one path"));
}

TEST(defaults, fake_setup, fake_teardown)
{
	static const char text[] = "[vm a]\n" GOOD_VM;
	static const char unsaid[] = "[vm a]\nmemory=1M\nkernel=\\k\n";
	static const char words[] = "[vm a]\nkey=Platform\n[vm b]\nkey=NONE\n[vm c]\nkey=random\n";

	assert_int_equal(parse(text, sizeof(text) - 1), 0);
	assert_int_equal(config.exit, CONFIG_EXIT_STAY);
	assert_true(config.shell);
	assert_int_equal(config.escape_key, 0x1e);
	assert_int_equal(config.on_panic, CONFIG_ON_PANIC_STAY);
	assert_int_equal(config.log_level, LOG_INFO);
	assert_int_equal(config.window_bytes, CONFIG_WINDOW_AUTO);
	assert_string_equal(config.engine_cipher, "auto");
	assert_true(config.keys_in_memory);
	assert_false(config.tme_activate);
	assert_int_equal(config.iommu, CONFIG_IOMMU_AUTO);
	assert_false(config.attest_always);
	assert_int_equal(config.vms[0].vcpus, 1);
	assert_int_equal(config.vms[0].weight, 100);
	assert_int_equal(config.vms[0].affinity[0], 0);
	assert_int_equal(config.vms[0].key.kind, VM_KEY_NONE); /* because engine = none is */
	assert_int_equal(config.vms[0].signature, VM_SIGNATURE_UMBRA);
	assert_int_equal(config.vms[0].max_leaf, SIZE_1G);
	assert_int_equal(config.vms[0].on_crash, VM_ON_END_DESTROY);
	assert_int_equal(config.vms[0].on_reboot, VM_ON_END_RESTART);
	assert_int_equal(config.vms[0].on_poweroff, VM_ON_END_DESTROY);
	assert_string_equal(config.vms[0].initrd.path, "");
	assert_string_equal(config.vms[0].cmdline, "");

	assert_int_equal(parse(unsaid, sizeof(unsaid) - 1), 0);
	assert_int_equal(config.vms[0].engine, VM_ENGINE_AUTO);
	assert_int_equal(config.vms[0].key.kind, VM_KEY_RANDOM);
	assert_int_equal(parse(words, sizeof(words) - 1), ERR_FORMAT);
	assert_int_equal(config.vms[0].key.kind, VM_KEY_PLATFORM);
	assert_int_equal(config.vms[1].key.kind, VM_KEY_NONE);
	assert_int_equal(config.vms[2].key.kind, VM_KEY_RANDOM);
}

/*
 * One bad file each: what the log says, and which of its VMs are valid (a bit each). Lines 1 to 4
 * are the good section [vm a] unless the case starts otherwise.
 */
#define A "[vm a]\n" GOOD_VM /* lines 1 to 4 */
#define B "[vm b]\n" GOOD_VM

struct bad {
	const char *text;
	const char *complaint;
	uint32_t valid;
};

static const struct bad bad_cases[] = {
	/* Sections. */
	{ A "[vm b]\nkernel=\\k\nengine=none\n", "umbra.conf:5: vm b: memory is missing", 1 },
	{ A "[vm b]\nmemory=1M\nengine=none\n", "umbra.conf:5: vm b: kernel is missing", 1 },
	{ "", "umbra.conf:0: no VM is described", 0 },
	{ "[host]\nexit=stay\n", "umbra.conf:2: no VM is described", 0 },
	{ A "[vm  A]\n" GOOD_VM, "umbra.conf:5: vm A: there is a VM of this name in line 1", 1 },
	{ A "[guest b]\nmemory=1\n" B, "umbra.conf:5: unknown section [guest b]", 3 },
	{ A "[vm]\nmemory=1\n", "umbra.conf:5: unknown section [vm]", 1 },
	{ A "[]\nmemory=1\n", "umbra.conf:5: unknown section []", 1 },
	{ A "[vm ]\n", "umbra.conf:5: a VM's name is 1 to 31", 1 },
	{ A "[vm b/c]\n", "umbra.conf:5: a VM's name is 1 to 31", 1 },
	{ A "[vm abcdefghijklmnopqrstuvwxyz-012345]\n", "umbra.conf:5: a VM's name is", 1 },
	{ A "[vm abcdefghijklmnopqrstuvwxyz-0123456789abcdefghijklmnop]\n", "a VM's name is", 1 },
	{ "memory=1M\n" A, "umbra.conf:1: \"memory\" stands before the first section", 1 },
	/* A broken section line: the following keys must not count for the section before. */
	{ A "[vm c\nmemory=1M\n" B, "umbra.conf:5: the section line is damaged", 3 },
	{ A "[vm c ; ]\nmemory=1M\n" B, "umbra.conf:5: the section line is damaged", 3 },
	{ A "[vm \x01]\nmemory=1M\n" B, "umbra.conf:5: the section line is damaged", 3 },
	{ A "[vm \x01]\nmemory=1M\n" B, "umbra.conf:5: byte 01 is not ASCII text", 3 },
	{ A "[vm c\n[vm d\n" B, "umbra.conf:6: the section line is damaged", 3 },
	{ "[vm c\nmemory=1M\n" A, "umbra.conf:1: the section line is damaged", 1 },
	{ A "[vm c\nmemory=1M", "umbra.conf:5: the section line is damaged", 1 },
	/* Keys. */
	{ A "ballast=1\n", "umbra.conf:5: vm a: unknown key \"ballast\" in section [vm]", 0 },
	{ "[host]\nmemory=1M\n" A, "umbra.conf:2: unknown key \"memory\" in section [host]", 1 },
	{ "[host]\nexit=never\n" A, "umbra.conf:2: exit = never must be one of stay, poweroff", 1 },
	{ "[host]\nescape-key=ctrl-m\n" A, "escape-key = ctrl-m must be a key such as ctrl-^", 1 },
	{ "[host]\nescape-key=^a\n" A, "escape-key = ^a must be a key such as ctrl-^", 1 },
	{ "[host]\nescape-key=ctrl-\n" A, "escape-key = ctrl- must be a key", 1 },
	{ "[host]\nescape-key=ctrl-aa\n" A, "escape-key = ctrl-aa must be a key", 1 },
	{ "[host]\nescape-key=ctrl-5\n" A, "escape-key = ctrl-5 must be a key", 1 },
	{ "[host]\nshell=maybe\n" A, "umbra.conf:2: shell = maybe must be one of on, off", 1 },
	{ "[host]\nlog=loud\n" A, "log = loud must be one of error, warn, info, debug", 1 },
	{ A "memory=1M\n", "umbra.conf:5: vm a: memory is given twice", 0 },
	{ A "initrd=\n", "umbra.conf:5: vm a: initrd has no value", 0 },
	{ A "initrd\n", "umbra.conf:5: vm a: initrd has no value", 0 },
	{ A "initrd = initrd.img\n", "initrd = initrd.img must be a whole path", 0 },
	{ A "vcpus = 0\n", "vcpus = 0 must be a number from 1 to 64", 0 },
	{ A "vcpus = 65\n", "vcpus = 65 must be a number from 1 to 64", 0 },
	{ A "vcpus = 1x\n", "vcpus = 1x must be a number from 1 to 64", 0 },
	{ A "weight = 0\n", "weight = 0 must be a number from 1 to 10000", 0 },
	{ A "weight = 10001\n", "weight = 10001 must be a number from 1 to 10000", 0 },
	{ A "rekey-after = 0m\n", "rekey-after = 0m must be a time of at most 365 days", 0 },
	{ A "rekey-after = 366d\n", "rekey-after = 366d must be a time of at most 365 days", 0 },
	{ A "rekey-after = 5\n", "rekey-after = 5 must be a time of at most 365 days", 0 },
	{ A "rekey-after = 5mm\n", "rekey-after = 5mm must be a time of at most 365 days", 0 },
	{ A "rekey-after = 9w\n", "rekey-after = 9w must be a time of at most 365 days", 0 },
	{ A "affinity = 1-\n", "affinity = 1- must be a list of CPUs below 256", 0 },
	{ A "affinity = 3-2\n", "affinity = 3-2 must be a list of CPUs below 256", 0 },
	{ A "affinity = 1,,2\n", "affinity = 1,,2 must be a list of CPUs below 256", 0 },
	{ A "affinity = 0-256\n", "affinity = 0-256 must be a list of CPUs below 256", 0 },
	{ A "affinity = all\n", "affinity = all must be a list of CPUs below 256", 0 },
	{ A "vcpus = -1\n", "vcpus = -1 must be a number from 1 to 64", 0 },
	{ A "key = secret\n", "umbra.conf:5: vm a: key = secret must be one of random, file:PATH,",
	  0 },
	{ A "key = file:a.key\n", "key = file:a.key must be a whole path", 0 },
	{ A "key = file:\n", "key = file: must be a whole path", 0 },
	{ A "key = random\nkey = none\n", "umbra.conf:6: vm a: key is given twice", 0 },
	{ A "signature = xen\n", "signature = xen must be one of umbra, kvm", 0 },
	{ A "on-crash = reboot\n", "on-crash = reboot must be one of restart, destroy, keep", 0 },
	{ A "on-panic = keep\n", "unknown key \"on-panic\" in section [vm]", 0 },
	{ A "leaf = 8K\n", "leaf = 8K must be one of auto, 4K, 2M, 1G", 0 },
	{ "[host]\nwindow=16\n" A,
	  "umbra.conf:2: window = 16 must be auto, or 260K to 64G in whole", 1 },
	{ "[host]\nwindow=259K\n" A, "window = 259K must be auto, or 260K to 64G in whole 4K pages",
	  1 },
	{ "[host]\nwindow=262K\n" A, "window = 262K must be auto, or 260K to 64G in whole 4K pages",
	  1 },
	{ "[host]\nwindow=65537M\n" A, "window = 65537M must be auto, or 260K to 64G", 1 },
	{ "[host]\nwindow=20000000000G\n" A, "window = 20000000000G must be auto, or 260K to 64G",
	  1 },
	{ "[host]\nwindow=all\n" A, "umbra.conf:2: window = all must be auto, or 260K to 64G", 1 },
	{ "[host]\nengine-cipher=des\n" A,
	  "umbra.conf:2: engine-cipher = des must be one of auto, mbedtls, aesni, vaes256, vaes512",
	  1 },
	{ A "window=16M\n", "umbra.conf:5: vm a: unknown key \"window\" in section [vm]", 0 },
	{ A "[vm b]\nmemory=1020K\nkernel=\\k\n",
	  "umbra.conf:6: vm b: memory = 1020K must be 1M to", 1 },
	{ A "[vm b]\nmemory=1M\nkernel=\\k\nengine=off\n", "engine = off must be one of", 1 },
	{ A "disk = ro\n", "disk = ro must be a whole path, and perhaps ro or cow = SIZE after it",
	  0 },
	{ A "disk = a.img\n", "disk = a.img must be a whole path", 0 },
	{ A "disk = \\a,cow\n", "disk = cow must be a whole path", 0 },
	{ A "disk = \\a,cow=4\n", "disk = cow=4 must be a whole path", 0 },
	{ A "disk = \\a,cow=2048G\n", "disk = cow=2048G must be a whole path", 0 },
	{ A "disk = \\a\ndisk = \\b, ro, cow = 4K\n",
	  "umbra.conf:6: vm a: disk = cow = 4K is a second option; a disk has ro or cow", 0 },
	{ A "disk = \\a,\\b,\\c,\\d\ndisk = \\e\n",
	  "umbra.conf:6: vm a: disk = \\e is one disk too many; a VM has 4 at most", 0 },
	{ A "net = mac=52:54:00:00:00:01\n", "net = mac=52:54:00:00:00:01 must be a name", 0 },
	{ A "net = a b\n", "net = a b must be a name of letters, digits", 0 },
	{ A "net = lan0, colour=1\n", "net = colour=1 must be a name", 0 },
	{ A "net = lan0, offload=maybe\n", "net = offload=maybe must be a name", 0 },
	{ A "net = lan0, offload=on, offload=off\n", "net = offload=off must be a name", 0 },
	{ A "net = lan0, mac=2:0:0:0:0:1\n",
	  "net = mac=2:0:0:0:0:1 is not the address of one interface, as mac =", 0 },
	{ A "net = lan0, mac=52:54:00:12:34:5\n", "is not the address of one interface", 0 },
	{ A "net = lan0, mac=52:54:00:12:34:5g\n", "is not the address of one interface", 0 },
	{ A "net = lan0, mac=52:54:00:12:34:56:78\n", "is not the address of one interface", 0 },
	{ A "net = lan0, mac=53:54:00:12:34:56\n", "is not the address of one interface", 0 },
	{ A "net = lan0, mac=00:00:00:00:00:00\n", "is not the address of one interface", 0 },
	{ A "net = lan0, mac=52:54:00:00:00:01, mac=52:54:00:00:00:02\n",
	  "mac=52:54:00:00:00:02 is a second address of one port", 0 },
	{ A "net = a, b\nnet = c,d, e\n",
	  "umbra.conf:6: vm a: net = e is one net too many; a VM has 4 at most", 0 },
	{ A "net = l, mac=52:54:00:00:00:01\n" B "net = L, mac = 52:54:00:00:00:01\n",
	  "umbra.conf:6: vm b: net = L: VM a has this mac already", 1 },
	{ A "net = l, mac=52:54:00:00:00:01, l, mac = 52:54:00:00:00:01\n",
	  "umbra.conf:1: vm a: net = l: VM a has this mac already", 0 },
	{ A "clear = 4K\n",
	  "clear = 4K must be at most 4 ranges of whole 4K pages that do not overlap, such as"
	  " 16M@1G",
	  0 },
	{ A "clear = 4K@1\n", "clear = 4K@1 must be at most 4 ranges of whole 4K pages", 0 },
	{ A "clear = 0@1M\n", "clear = 0@1M must be at most 4 ranges", 0 },
	{ A "clear = 8K@0,4K@4K\n", "clear = 4K@4K must be at most 4 ranges", 0 },
	{ A "clear = 4K@4K,8K@0\n", "clear = 8K@0 must be at most 4 ranges", 0 },
	{ A "clear = 4K@0,4K@8K,4K@16K,4K@24K,4K@32K\n", "must be at most 4 ranges", 0 },
	{ A "clear = 4K@x\n", "clear = 4K@x must be at most 4 ranges", 0 },
	{ A "key = tpm:\\a.blob\n",
	  "umbra.conf:5: vm a: key = tpm:\\a.blob must end in .tpm, such as tpm:\\umbra\\a", 0 },
	{ A "key = tpm:\\.tpm\n", "umbra.conf:5: vm a: key = tpm:\\.tpm must end in .tpm", 0 },
	/* Shares. */
	{ A "[share s]\nsize=2M\n", "umbra.conf:5: share s: members is missing", 1 },
	{ A "[share s]\nmembers=a\n", "umbra.conf:5: share s: size is missing", 1 },
	{ A "[share s]\nsize=2M\nmembers=a, b:ro\n", "umbra.conf:5: share s: there is no VM b", 1 },
	{ A "[share s]\nsize=2M\nmembers=a,A:ro\n", "members = A:ro names a VM twice", 1 },
	{ A "[share s]\nsize=2M\nmembers=a:rx\n", "members = a:rx must be at most 16 VMs, such as",
	  1 },
	{ A "[share s]\nsize=2M\nmembers=a,,a\n", "members =  must be at most 16 VMs, such as", 1 },
	{ A "[share s]\nsize=1000\nmembers=a\n", "size = 1000 must be 4K to 4096G in whole", 1 },
	{ A "[share s]\nsize=4K\nvia=dax\nmembers=a\n", "must be a multiple of 2M", 1 },
	{ A "[share s]\nsize=12K\nvia=pci\nmembers=a\n", "must be a power of two", 1 },
	{ A "[share s]\nsize=2M\nvia=usb\nmembers=a\n", "via = usb must be one of reserved,", 1 },
	{ A "[share s]\nsize=2M\nkey=none\nmembers=a\n",
	  "conf:7: share s: key = none must be one of random, file:PATH, tpm:PATH, platform", 1 },
	{ A "[share s]\nsize=2M\nmembers=a\n[share S]\n", "a share of this name in line 5", 1 },
	{ A "[share a b]\n", "umbra.conf:5: a share's name is", 1 },
	{ A "size = 2M\n", "umbra.conf:5: vm a: unknown key \"size\" in section [vm]", 0 },
	{ A "[host]\nattest = on\n", "umbra.conf:6: attest = on must be one of auto, always", 1 },
	{ A "[host]\niommu = on\n", "umbra.conf:6: iommu = on must be one of auto, require, off",
	  1 },
	{ A "[host]\nkey-store = register\n",
	  "umbra.conf:6: key-store = register must be one of memory, registers", 1 },
	{ A "[host]\ntme = on\n", "umbra.conf:6: tme = on must be one of adopt, activate", 1 },
	/* Bytes. */
	{ A "cmdline = \x1b[2J\n", "umbra.conf:5: vm a: byte 1b is not ASCII text", 0 },
	{ A "cmdline = a\rb\n", "umbra.conf:5: vm a: byte 0d is not ASCII text", 0 },
	{ A "cmdline = a\xc3\xa4\n", "umbra.conf:5: vm a: byte c3 is not ASCII text", 0 },
	{ A "cmdline = a\x7f\n", "umbra.conf:5: vm a: byte 7f is not ASCII text", 0 },
	{ "\xff\xfe[", "umbra.conf:1: the file is UTF-16", 0 },
	{ "\xfe\xff[", "umbra.conf:1: the file is UTF-16", 0 },
	{ A "[vm b] c\n", "umbra.conf:5: the section line is damaged", 1 },
	{ A "vcpus : 2\n", "umbra.conf:5: vm a: unknown key \"vcpus : 2\"", 0 },
};

#define CLEAR A "clear = 16M@1G , 64K@2M\n"

TEST(lists_given, fake_setup, fake_teardown)
{
	static const char text[] = A "[share box]\nsize = 64M\nmembers = a:ro , A-2:RW\n"
				     "[vm A-2]\nmemory=1M\nkernel=\\k\n"
				     "[share plain]\nsize = 4K\nmembers = A-2:rw\nkey = platform\n";
	const struct share_config *share = &config.shares[0];

	assert_int_equal(parse(CLEAR, sizeof(CLEAR) - 1), 0);
	assert_int_equal(config.vms[0].clear[0].base, 2 << 20);
	assert_int_equal(config.vms[0].clear[0].bytes, 64 << 10);
	assert_int_equal(config.vms[0].clear[1].base, 1 << 30);
	assert_int_equal(config.vms[0].clear[1].bytes, 16 << 20);
	assert_int_equal(config.vms[0].clear[2].bytes, 0);
	assert_int_equal(parse(text, sizeof(text) - 1), ERR_FORMAT); /* :RW is not :rw */
	assert_false(share->valid);
	assert_true(config.shares[1].valid);
	assert_int_equal(config.shares[1].key.kind, VM_KEY_PLATFORM);
	assert_int_equal(share->bytes, 64 << 20);
	assert_int_equal(share->member_count, 1);
	assert_string_equal(share->members[0].vm, "a");
	assert_true(share->members[0].read_only);
	assert_int_equal(share->via, SHARE_VIA_RESERVED);
	assert_string_equal(config.shares[1].members[0].vm, "A-2");
	assert_false(config.shares[1].members[0].read_only);
	assert_int_equal(config.shares[1].bytes, PAGE_SIZE);
}

TEST(disks_given, fake_setup, fake_teardown)
{
	static const char text[] = A "disk = /umbra/root.img , cow = 64M\n"
				     "disk = \\b,RO,\\c\n";
	const struct vm_disk *disks = config.vms[0].disks;

	assert_int_equal(parse(text, sizeof(text) - 1), 0);
	assert_string_equal(disks[0].file.path, "\\umbra\\root.img");
	assert_int_equal(disks[0].cow_bytes, 64 << 20);
	assert_string_equal(disks[1].file.path, "\\b");
	assert_true(disks[1].read_only && disks[1].cow_bytes == 0);
	assert_string_equal(disks[2].file.path, "\\c");
	assert_int_equal(disks[2].cow_bytes, 0);
	assert_string_equal(disks[3].file.path, "");
}

TEST(nets_given, fake_setup, fake_teardown)
{
	static const char text[] = A "net = lan0, MAC = 52:54:00:aB:Cd:eF, offload = Off\n"
				     "net = dmz\nnet = lan0, offload=on\n" B
				     "net = lan1, mac = 52:54:00:ab:cd:ef\n";
	static const uint8_t address[] = { 0x52, 0x54, 0, 0xab, 0xcd, 0xef };
	const struct vm_net *nets = config.vms[0].nets;

	assert_int_equal(parse(text, sizeof(text) - 1), 0);
	assert_string_equal(nets[0].name, "lan0");
	assert_true(nets[0].has_address && nets[0].offload_off);
	assert_memory_equal(nets[0].address, address, 6);
	assert_string_equal(nets[1].name, "dmz");
	assert_false(nets[1].has_address || nets[1].offload_off);
	assert_string_equal(nets[2].name, "lan0");
	assert_false(nets[2].has_address || nets[2].offload_off);
	assert_string_equal(nets[3].name, "");
	assert_memory_equal(config.vms[1].nets[0].address, address, 6);
}

/* A list key may be repeated: its items add up, and are checked together. */
TEST(lists_repeated, fake_setup, fake_teardown)
{
	static const char text[] = A "clear = 16M@1G\nclear = 64K@2M\n" B
				     "[share s]\nsize = 2M\nmembers = b:ro\nmembers = a\n";
	static const char twice[] = A "[share s]\nsize = 2M\nmembers = a\nmembers = A:ro\n";
	static const char overlap[] = A "clear = 64K@2M\nclear = 4K@2M\n";

	assert_int_equal(parse(text, sizeof(text) - 1), 0);
	assert_int_equal(config.vms[0].clear[0].base, 2 << 20);
	assert_int_equal(config.vms[0].clear[1].base, 1 << 30);
	assert_int_equal(config.shares[0].member_count, 2);
	assert_true(config.shares[0].members[0].read_only);
	assert_string_equal(config.shares[0].members[1].vm, "a");
	assert_int_equal(parse(twice, sizeof(twice) - 1), ERR_FORMAT);
	assert_non_null(
		strstr(fake_log_text(), "conf:8: share s: members = A:ro names a VM twice"));
	assert_int_equal(parse(overlap, sizeof(overlap) - 1), ERR_FORMAT);
	assert_non_null(strstr(fake_log_text(), "conf:6: vm a: clear = 4K@2M must be at most 4"));
}

/* Each row is complete, and its texts are right. */
TEST(rows_are_complete, fake_setup, fake_teardown)
{
	static union {
		struct config host;
		struct vm_config vm;
		struct share_config share;
	} owner;
	char text[CONFIG_ALLOWED_MAX];

	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		const char *value = key->standard != NULL ? key->standard : key->example;
		const char *c;
		char item[64];

		assert_int_equal((key->standard != NULL) + (key->absent != NULL) +
					 (key->example != NULL),
				 1);
		assert_ptr_equal(config_allowed(key, text), text);
		assert_in_range(strlen(text), 4, CONFIG_ALLOWED_MAX - 2); /* nothing was cut */
		assert_true(key->bytes != 0 && key->bytes <= sizeof(owner) - key->offset);
		for (c = key->help; *c >= ' ' && *c <= '~' && *c != '|'; c++) {
		}
		assert_true(*c == '\0' && c - key->help > 10 && c[-1] == '.');
		snprintf(item, sizeof(item), "%.*s",
			 key->list ? (int)strcspn(value ? value : "", ",") : 63,
			 value != NULL ? value : "");
		memset(&owner, 0, sizeof(owner));
		if (value != NULL && key->parse(key, (char *)&owner + key->offset, item) != NULL) {
			fail_msg("%s = %s is not allowed", key->name, value);
		}
		for (const struct config_choice *w = key->choices; w != NULL && w->word; w++) {
			assert_non_null(strstr(text, w->word));
		}
	}
}

TEST(complaints, fake_setup, fake_teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(bad_cases); i++) {
		const struct bad *c = &bad_cases[i];
		uint32_t valid = 0;

		fake_log_reset();
		assert_int_equal(parse(c->text, strlen(c->text)), ERR_FORMAT);
		for (size_t v = 0; v < config.vm_count; v++) {
			valid |= config.vms[v].valid ? 1u << v : 0;
		}
		if (strstr(fake_log_text(), c->complaint) == NULL || valid != c->valid) {
			fail_msg("case %zu: wanted \"%s\" and VMs %x, got %x and:\n%s", i,
				 c->complaint, c->valid, valid, fake_log_text());
		}
	}
}

struct size_case {
	const char *word;
	uint64_t bytes; /* 0: refused */
};

static const struct size_case size_cases[] = {
	{ "1M", 1ul << 20 },
	{ "1024K", 1ul << 20 },
	{ "1048576", 1ul << 20 },
	{ "1g", 1ul << 30 },
	{ "4096G", 4ul << 40 },
	{ "4097G", 0 },
	{ "0", 0 },
	{ "0M", 0 },
	{ "1023K", 0 },
	{ "1025K", 0 }, /* not a whole page */
	{ "1048577", 0 },
	{ "M", 0 },
	{ "1MM", 0 },
	{ "1MB", 0 },
	{ "1T", 0 },
	{ "1.5G", 0 },
	{ "0x100000", 0 },
	{ "-1M", 0 },
	{ "18446744073709551615", 0 },
	{ "18446744073709551616", 0 },
	{ "18014398509481985K", 0 }, /* 2^64 + 1024 */
	{ "17179869185G", 0 },	     /* 2^64 + 1G */
	{ "99999999999999999999999999M", 0 },
};

TEST(sizes, fake_setup, fake_teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(size_cases); i++) {
		char text[128];
		int n = snprintf(text, sizeof(text), "[vm a]\nkernel=\\k\nengine=none\nmemory=%s\n",
				 size_cases[i].word);
		int err = parse(text, (size_t)n);

		if (err != (size_cases[i].bytes == 0 ? ERR_FORMAT : 0) ||
		    config.vms[0].memory_bytes != size_cases[i].bytes) {
			fail_msg("%s: %d, %lu", size_cases[i].word, err,
				 config.vms[0].memory_bytes);
		}
	}
}

/*
 * After a wrong value there is no window, not the default window: never more in clear than was
 * asked for.
 */
TEST(wrong_window, fake_setup, fake_teardown)
{
	static const char *const words[] = { "256K", "65G", "0", "-1", "2MB" };

	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		char text[128];
		int n = snprintf(text, sizeof(text), "[host]\nwindow=%s\n" A, words[i]);

		assert_int_equal(parse(text, (size_t)n), ERR_FORMAT);
		assert_int_equal(config.window_bytes, 0);
		assert_true(config.vms[0].valid); /* the VM may not need a window */
	}
}

/* A wrong word must not leave open what a right one would have shut. */
TEST(wrong_iommu, fake_setup, fake_teardown)
{
	static const char text[] = "[host]\niommu = on\n";

	assert_int_equal(parse(text, sizeof(text) - 1), ERR_FORMAT);
	assert_int_equal(config.iommu, CONFIG_IOMMU_REQUIRE);
}

/* Nothing but the word "memory", alone, leaves keys there. */
TEST(wrong_key_store, fake_setup, fake_teardown)
{
	static const char *const texts[] = {
		A "[host]\nkey-store = register\n",
		A "[host]\nkey-store =\n",
		A "[host]\nkey-store\n",
		A "[host]\nkey-store = memory\nkey-store = registers\n",
		A "[host]\nkey-store = registers\nkey-store = memory\n",
		"[host]\nkey-store = registers\n" A "[host]\nkey-store = memory\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		assert_int_equal(parse(texts[i], strlen(texts[i])), ERR_FORMAT);
		assert_false(config.keys_in_memory);
		assert_true(config.vms[0].valid);
	}
}

TEST(reports_at_any_price, fake_setup, fake_teardown)
{
	static const char text[] = A "[host]\nattest = Always\n";

	assert_int_equal(parse(text, sizeof(text) - 1), 0);
	assert_true(config.attest_always);
}

/* NUL bytes do not end the file early and do not reach a string function. */
TEST(nul_bytes, fake_setup, fake_teardown)
{
	static const char text[] = "\0\0\0\n" A "cmdline=a\0b\n" B;

	assert_int_equal(parse(text, sizeof(text) - 1), ERR_FORMAT);
	assert_non_null(strstr(fake_log_text(), "umbra.conf:1: byte 00"));
	assert_non_null(strstr(fake_log_text(), "umbra.conf:6: vm a: byte 00"));
	assert_int_equal(config.vm_count, 2);
	assert_false(config.vms[0].valid);
	assert_true(config.vms[1].valid);
}

TEST(long_lines, fake_setup, fake_teardown)
{
	static char text[3 * CONFIG_LINE_MAX];

	for (size_t length = VM_CMDLINE_MAX - 2; length < CONFIG_LINE_MAX + 40; length++) {
		int head = snprintf(text, sizeof(text), A "cmdline=");
		size_t at = (size_t)head;

		memset(text + at, 'x', length);
		at += length;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "\n" B);
		fake_log_reset();
		assert_int_equal(parse(text, at), length < VM_CMDLINE_MAX ? 0 : ERR_FORMAT);
		assert_int_equal(config.vm_count, 2);
		assert_int_equal(config.vms[0].valid, length < VM_CMDLINE_MAX);
		assert_true(config.vms[1].valid);
		assert_true(length < VM_CMDLINE_MAX || strstr(fake_log_text(), "conf:5: vm a: "));
		assert_true(length != VM_CMDLINE_MAX ||
			    strstr(fake_log_text(), "of at most 2047 characters"));
	}
}

TEST(long_path, fake_setup, fake_teardown)
{
	char text[512];

	for (int length = VM_PATH_MAX - 2; length < VM_PATH_MAX + 2; length++) {
		int n = snprintf(text, sizeof(text), A "initrd=\\%0*d\n", length - 1, 0);

		assert_int_equal(parse(text, (size_t)n), length < VM_PATH_MAX ? 0 : ERR_FORMAT);
		assert_int_equal(strlen(config.vms[0].initrd.path),
				 length < VM_PATH_MAX ? length : 0);
	}
}

TEST(too_many_vms, fake_setup, fake_teardown)
{
	char text[4096];
	size_t at = 0;

	for (int i = 0; i < CONFIG_VM_MAX + 1; i++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "[vm v%d]\n" GOOD_VM, i);
	}
	assert_int_equal(parse(text, at), ERR_FORMAT);
	assert_int_equal(config.vm_count, CONFIG_VM_MAX);
	assert_int_equal(config.error_count, 1);
	assert_true(config.vms[CONFIG_VM_MAX - 1].valid);
	assert_non_null(strstr(fake_log_text(), "umbra.conf:257: more than 64 VMs; [vm v64]"));
}

/* A file full of errors causes a bounded number of log lines, and each error is counted. */
TEST(flood, fake_setup, fake_teardown)
{
	static char text[16384];
	size_t lines = 0;

	memcpy(text, "[host]\n", 7);
	for (size_t at = 7; at < sizeof(text); at += 2) {
		memcpy(text + at, at + 1 < sizeof(text) ? "x\n" : "x", MIN(2, sizeof(text) - at));
	}
	assert_int_equal(parse(text, sizeof(text)), ERR_FORMAT);
	for (const char *c = fake_log_text(); *c != '\0'; c++) {
		lines += *c == '\n';
	}
	assert_int_equal(lines, 21);
	assert_int_equal(config.error_count, (sizeof(text) - 7 + 1) / 2 + 1);
}

/*
 * A megabyte of each kind: the file is read to its end, few lines are logged, and only its own VM
 * is lost.
 */
TEST(megabytes, fake_setup, fake_teardown)
{
	static const struct {
		const char *start, *again;
		size_t errors; /* 0: any number */
	} files[] = {
		{ A "cmdline=", "x", 1 },	 { A, "x", 1 },	       { A, "[", 2 },
		{ A "cmdline=", " ;\"", 0 },	 { A, "[host]\n", 0 }, { A, "[vm v]\n", 0 },
		{ A, "[share s]\n", 0 },	 { A, "[\n", 0 },      { A, "\0\0\n", 0 },
		{ A "cmdline=\"", "\\ \";", 1 }, { A, "\r\r", 1 },     { A, "=\n", 0 },
	};
	const size_t bytes = 1 << 20;
	char *text = malloc(bytes);

	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		size_t length = strlen(files[i].again);
		size_t at = strlen(files[i].start), lines = 0;

		length = length == 0 ? 3 : length; /* for NUL bytes */
		memcpy(text, files[i].start, at);
		for (; at + length <= bytes; at += length) {
			memcpy(text + at, files[i].again, length);
		}
		fake_log_reset();
		(void)config_parse("umbra.conf", text, at, &config);
		for (const char *c = fake_log_text(); *c != '\0'; c++) {
			lines += *c == '\n';
		}
		assert_in_range(lines, 0, 21);
		assert_string_equal(config.vms[0].name, "a");
		assert_true(files[i].errors == 0 || config.error_count == files[i].errors);
	}
	free(text);
}
