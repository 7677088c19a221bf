/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM 2.0 of the emulated machine: registers of TCG's interface CRB (PC Client Platform TPM
 * Profile 1.05, 6.5.3), locality 0 alone. What the TPM does is swtpm's work, on the other end of
 * a socket. A command is carried out while the machine stands still.
 *
 * Environment:
 *   MACHINE_TPM  path of swtpm's socket; without it there is no TPM
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bochs.h"
#include "cpu/cpu.h"
#include "memory/memory-bochs.h"

#define TPM_BASE     BX_CONST64(0xfed40000)
#define TPM_END      (TPM_BASE + 0x4fff) /* the localities 0 to 4 */
#define HEADER_BYTES 10                  /* tag, length and code, of a command or a reply */

enum {
  LOC_STATE = 0x00, LOC_CTRL = 0x08, LOC_STS = 0x0c, INTF_ID = 0x30, CTRL_REQ = 0x40,
  CTRL_STS = 0x44, CTRL_START = 0x4c, CMD_SIZE = 0x58, CMD_LOW = 0x5c,
  RSP_SIZE = 0x64, RSP_LOW = 0x68, DATA = 0x80, LOCALITY_BYTES = 0x1000,
};

#define LOC_STATE_VALID    0x81u /* tpmRegValidSts, tpmEstablished: nothing has cleared it */
#define LOC_STATE_ASSIGNED 0x02u
#define LOC_CTRL_REQUEST   0x01u
#define LOC_CTRL_RELINQUISH 0x02u
#define LOC_STS_GRANTED    0x01u
#define CTRL_REQ_READY     0x01u
#define CTRL_REQ_IDLE      0x02u
#define CTRL_STS_ERROR     0x01u
#define CTRL_STS_IDLE      0x02u
#define CTRL_START_RUN     0x01u
/* CRB, its version 1, transfers of 64 bytes, CRB can be chosen and is chosen */
#define INTF_ID_CRB        (0x1u | 0x1u << 4 | 0x3u << 11 | 0x1u << 14 | 0x1u << 17)

static int tpm = -1; /* swtpm's socket; -1: there is no TPM */
static Bit8u registers[LOCALITY_BYTES];

static Bit32u get(unsigned at)
{
  Bit32u value;

  memcpy(&value, registers + at, sizeof(value));
  return value;
}

static void set(unsigned at, Bit32u value)
{
  memcpy(registers + at, &value, sizeof(value));
}

static bool transfer(bool out, Bit8u *data, size_t bytes)
{
  while (bytes != 0) {
    ssize_t done = out ? send(tpm, data, bytes, MSG_NOSIGNAL) : recv(tpm, data, bytes, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    data += done;
    bytes -= (size_t) done;
  }
  return true;
}

/* The length that a command or a reply states of itself; 0 if that cannot be. */
static size_t length(void)
{
  const Bit8u *at = registers + DATA + 2;
  size_t bytes = (size_t) at[0] << 24 | (size_t) at[1] << 16 | (size_t) at[2] << 8 | at[3];

  return bytes >= HEADER_BYTES && bytes <= LOCALITY_BYTES - DATA ? bytes : 0;
}

/* Carries out the command in the buffer, where the reply then is. */
static bool run(void)
{
  size_t bytes = length();

  if (bytes == 0 || !transfer(true, registers + DATA, bytes) ||
      !transfer(false, registers + DATA, HEADER_BYTES))
    return false;
  bytes = length();
  return bytes != 0 && transfer(false, registers + DATA + HEADER_BYTES, bytes - HEADER_BYTES);
}

static void write_register(unsigned at, Bit32u value)
{
  switch (at) {
  case LOC_CTRL:
    if ((value & LOC_CTRL_REQUEST) != 0) {
      set(LOC_STATE, LOC_STATE_VALID | LOC_STATE_ASSIGNED);
      set(LOC_STS, LOC_STS_GRANTED);
    } else if ((value & LOC_CTRL_RELINQUISH) != 0) {
      set(LOC_STATE, LOC_STATE_VALID);
      set(LOC_STS, 0);
    }
    break;
  case CTRL_REQ:
    if ((value & CTRL_REQ_READY) != 0) set(CTRL_STS, get(CTRL_STS) & ~CTRL_STS_IDLE);
    else if ((value & CTRL_REQ_IDLE) != 0) set(CTRL_STS, get(CTRL_STS) | CTRL_STS_IDLE);
    break;
  case CTRL_START:
    if ((value & CTRL_START_RUN) != 0 && get(LOC_STS) != 0 && !run())
      set(CTRL_STS, get(CTRL_STS) | CTRL_STS_ERROR);
    break;
  }
}

static bool tpm_write(bx_phy_address address, unsigned bytes, void *data, void *)
{
  unsigned at = (unsigned) (address - TPM_BASE);
  Bit32u value = 0;

  if (at >= LOCALITY_BYTES) return true; /* of another locality */
  if (at >= DATA) {
    if (bytes <= LOCALITY_BYTES - at) memcpy(registers + at, data, bytes);
  } else if (bytes <= sizeof(value)) {
    memcpy(&value, data, bytes);
    write_register(at, value);
  }
  return true;
}

static bool tpm_read(bx_phy_address address, unsigned bytes, void *data, void *)
{
  unsigned at = (unsigned) (address - TPM_BASE);

  memset(data, 0xff, bytes);
  if (at < LOCALITY_BYTES && bytes <= LOCALITY_BYTES - at) memcpy(data, registers + at, bytes);
  return true;
}

/* Power-on. A later reset would have to reach the TPM as well, which it does not. */
void machine_tpm_reset(void)
{
  const char *path = getenv("MACHINE_TPM");
  struct sockaddr_un name = {};

  if (path == NULL) return;
  if (tpm >= 0) {
    fprintf(stderr, "machine: TPM: the model supports no reset of the machine\n");
    machine_stop("reset-with-tpm", 1);
    return;
  }
  name.sun_family = AF_UNIX;
  strncpy(name.sun_path, path, sizeof(name.sun_path) - 1);
  tpm = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(tpm, (const struct sockaddr *) &name, sizeof(name)) != 0) {
    fprintf(stderr, "machine: TPM: %s: %s\n", path, strerror(errno));
    exit(1);
  }
  set(LOC_STATE, LOC_STATE_VALID);
  set(INTF_ID, INTF_ID_CRB);
  set(CTRL_STS, CTRL_STS_IDLE);
  set(CMD_SIZE, LOCALITY_BYTES - DATA);
  set(RSP_SIZE, LOCALITY_BYTES - DATA);
  set(CMD_LOW, (Bit32u) TPM_BASE + DATA);
  set(RSP_LOW, (Bit32u) TPM_BASE + DATA);
  BX_MEM(0)->registerMemoryHandlers(NULL, tpm_read, tpm_write, TPM_BASE, TPM_END);
}
