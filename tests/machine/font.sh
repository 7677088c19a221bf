#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# font.sh DIR: leaves the screen console's font in DIR/font.psf.
set -eu
sh "$(dirname "$0")/fetch.sh" deb own console-setup-linux "$1" \
	'*/Uni2-Fixed16.psf.gz'
gzip -dc "$1"/usr/share/consolefonts/Uni2-Fixed16.psf.gz > "$1/font.psf"
