# SPDX-License-Identifier: Apache-2.0
# One line for each unit test: UNIT_X lists what tests/unit/test_X.c is linked with. The fakes of
# fake_*.c come by themselves, each in place of what is not listed.
UNIT_fakes :=
