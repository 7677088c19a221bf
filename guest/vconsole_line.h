/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's bytes as lines that begin with the name of its VM. */
#ifndef UMBRA_GUEST_VCONSOLE_LINE_H
#define UMBRA_GUEST_VCONSOLE_LINE_H

#include "guest/vconsole.h"

/*
 * Shows a guest's bytes after its name. They must not move the cursor back over the name or to
 * another line. After a carriage return the name is written again. A character beyond ASCII appears
 * as a question mark, because its bytes could be controls or change the direction of writing. Other
 * controls are left out. A line break can only be the last byte. On the boot processor, while the
 * cursor is in a line of this console.
 */
void vconsole_show_line(struct vconsole *console, const char *text, size_t bytes);

#endif
