# esdb: build, test, install. GNU make, a C11 compiler, relative paths only (the checkout may stand in a path with spaces).
#
#   make            libesdb.a, libesdb.so, all tools            -> build/
#   make demo       installs what is missing, builds, shows esdb at work on real input
#   make check      all tests; last line "N passed, N failed"
#   make help       every target and variable

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# ---- what there is -------------------------------------------------------------------------------------------------

# The version stands once, in the public header.
VERSION := $(shell sed -n 's/^\#define ESDB_VERSION[A-Z_]* *"\([0-9.]*\)".*/\1/p' libcore/esdb.h 2>/dev/null | head -n 1)
VERSION := $(or $(VERSION),0.1.0)
SOVERSION := 0

FORMAT_SRC := $(wildcard format/*.c)
LIBCORE_SRC := $(wildcard libcore/*.c)
TOOL_SRC := $(wildcard cmd/esdb.c cmd/esdb-*.c)
REPLICATE_SRC := $(wildcard replicate/*.c)
CMD_SRC := $(filter-out $(TOOL_SRC),$(wildcard cmd/*.c))
# Helper executables, which tools start: the only programs that link libraries which nobody else should.
LIBEXEC_SRC := $(wildcard libexec/esdb-*.c)
LIBEXEC_SHARED_SRC := $(filter-out $(LIBEXEC_SRC),$(wildcard libexec/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_SHARED_SRC := $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c))
# Test programs: one file, one program; a name ending in shim is a library for LD_PRELOAD.
SHIM_SRC := $(wildcard tests/faults/*shim.c tests/bench/*shim.c)
HELPER_SRC := $(filter-out $(SHIM_SRC),$(wildcard tests/faults/*.c tests/bench/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
SIM_SRC := $(wildcard tests/sim/*.c)

# The libraries of each tool beyond libesdb and libc, linked from their .a. LIBS_lib are those of libesdb itself.
# A tool named in DYNAMIC_TOOLS is never linked statically (it needs the name service, or a library without .a).
LIBS_lib := yaml zstd
LIBS_esdb-bench := m
LIBS_esdb-jq := jq
LIBS_esdb-tar := archive
# Peers that tests compare with: linked as they come.
LIBS_fuzz_json := jq
LIBS_test_predicate_jq := jq
# libuv's archive has two names, by its version.
LIBS_replicate := raft sodium $(if $(findstring /,$(shell $(CC) -print-file-name=libuv_a.a 2>/dev/null)),uv_a,uv)
DYNAMIC_TOOLS := esdb-raftd
# Tools, tests and fuzz targets of replication: linked with replicate/ and its libraries.
REPLICATED := esdb-raftd $(patsubst tests/unit/%.c,%,$(shell grep -l '^\#include "replicate/' tests/unit/test_*.c 2>/dev/null)) \
    $(patsubst tests/fuzz/%.c,%,$(shell grep -l '^\#include "replicate/' tests/fuzz/fuzz_*.c 2>/dev/null))

# ---- variants: each has its own build directory ---------------------------------------------------------------------

SANITIZE ?=
COVERAGE ?=
STATIC ?= 1
comma := ,
VARIANT := $(if $(SANITIZE),-san-$(subst $(comma),-,$(SANITIZE)))$(if $(COVERAGE),-cov)$(if $(filter 0,$(STATIC)),-dyn)
BUILD := build$(VARIANT)

ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
OPT := $(if $(COVERAGE),-O0,-O2)
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
CPPFLAGS_ALL := -D_GNU_SOURCE -I. -include format/banned.h $(CPPFLAGS)
CFLAGS_ALL := -std=c11 $(OPT) -g $(WARN) -fvisibility=hidden -fPIC -pthread
LDFLAGS_ALL := -pthread $(LDFLAGS)
# Left to itself, gcc clears and copies structures of more than 64 bytes with "rep stos", which takes longer than all that
# is done with them: without it a bulk append takes 6 % less processor time.
STRUCTURES := -mmemset-strategy=vector_loop:512:noalign,libcall:-1:noalign \
    -mmemcpy-strategy=vector_loop:256:noalign,libcall:-1:noalign
CFLAGS_ALL += $(shell $(CC) -Werror $(STRUCTURES) -fsyntax-only -x c /dev/null 2>/dev/null && echo '$(STRUCTURES)')

ifneq ($(SANITIZE),)
  CFLAGS_ALL += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifneq ($(COVERAGE),)
  CFLAGS_ALL += --coverage
else
  CPPFLAGS_ALL += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
  CFLAGS_ALL += -fstack-protector-strong -fno-semantic-interposition
  LDFLAGS_ALL += -Wl,-z,relro,-z,now,-z,noexecstack
endif
CFLAGS_ALL += $(CFLAGS)

# A static program starts in three quarters of the time (p50 of posix_spawn and wait: static-pie 444 µs, dynamic 589 µs;
# without PIE 438 µs, which is not worth giving up address randomization). Sanitizers need the dynamic libc.
LINK_TOOL := $(if $(SANITIZE)$(COVERAGE)$(filter 0,$(STATIC)),-pie,-static-pie)

# A line a step; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2)')

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
LIBEXECDIR ?= $(PREFIX)/libexec/esdb
DESTDIR ?=

# ---- names of what is made ------------------------------------------------------------------------------------------

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(FORMAT_SRC) $(LIBCORE_SRC))
CMD_OBJ := $(call obj,$(CMD_SRC))
REPLICATE_LIB := $(BUILD)/libreplicate.a
CMD_LIB := $(BUILD)/libcmd.a # an archive, so that each tool gets only what it uses
TOOLS := $(patsubst cmd/%.c,$(BUILD)/bin/%,$(TOOL_SRC))
LIBEXECS := $(patsubst libexec/%.c,$(BUILD)/libexec/esdb/%,$(LIBEXEC_SRC))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
HELPERS := $(patsubst tests/%.c,$(BUILD)/%,$(HELPER_SRC))
SHIMS := $(patsubst tests/%.c,$(BUILD)/%.so,$(SHIM_SRC))
SIM := $(BUILD)/sim/sim
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
ALL_OBJ := $(call obj,$(FORMAT_SRC) $(LIBCORE_SRC) $(REPLICATE_SRC) $(CMD_SRC) $(TOOL_SRC) $(LIBEXEC_SRC) $(LIBEXEC_SHARED_SRC) $(UNIT_SRC) $(UNIT_SHARED_SRC) $(HELPER_SRC) $(SHIM_SRC) $(FUZZ_SRC) $(SIM_SRC))
STATIC_LIB := $(BUILD)/libesdb.a
SHARED_LIB := $(BUILD)/libesdb.so.$(VERSION)

.PHONY: all lib tools unit helpers fuzzers
all: lib tools
lib: $(STATIC_LIB) $(if $(findstring fuzzer,$(SANITIZE)),,$(BUILD)/libesdb.so) $(BUILD)/esdb.pc
tools: $(TOOLS) $(LIBEXECS)
unit: $(UNIT_TESTS)
helpers: $(HELPERS) $(SHIMS) $(SIM)
fuzzers: $(FUZZERS)
lib tools unit helpers fuzzers:
	@:

# ---- rules, one a kind of file --------------------------------------------------------------------------------------

# Everything is made again when the flags change.
FLAGS := $(CC) | $(CPPFLAGS_ALL) | $(CFLAGS_ALL) | $(LDFLAGS_ALL) | $(LINK_TOOL) | $(VERSION)
.PHONY: force
$(BUILD)/flags: force
	@mkdir -p $(BUILD)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Tools find their helpers beside themselves; programs that use the library elsewhere, where it was to be installed when it
# was compiled (make PREFIX=... all install), or through $ESDB_LIBEXEC. Another PREFIX at installation compiles nothing anew.
$(BUILD)/obj/libcore/helper.o: CPPFLAGS_ALL += -DESDB_LIBEXECDIR='"$(LIBEXECDIR)"'

$(STATIC_LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcsD $@ $^

$(CMD_LIB): $(CMD_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) qcs $@ $^

# libraft 0.15 acknowledges commits that one node holds, and commits entries of old terms by counting.
.PHONY: raft-version
raft-version:
	@pkg-config --atleast-version=0.22 raft 2>/dev/null || { \
	    echo "esdb-raftd needs libraft 0.22 or newer (here: $$(pkg-config --modversion raft 2>/dev/null || echo none)):" >&2; \
	    echo "0.15 acknowledges commits that one node holds and commits entries of old terms by counting, and so loses events." >&2; \
	    echo "'make deps-build' installs a newer one." >&2; exit 1; }
$(call obj,$(REPLICATE_SRC)): | raft-version

$(REPLICATE_LIB): $(call obj,$(REPLICATE_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) qcs $@ $^

$(SHARED_LIB): $(LIB_OBJ) libcore/esdb.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -shared -Wl,-soname,libesdb.so.$(SOVERSION) -Wl,--version-script=libcore/esdb.map \
	    $(if $(SANITIZE),,-Wl,-z,defs) -o $@ $(LIB_OBJ) $(addprefix -l,$(LIBS_lib))

$(BUILD)/libesdb.so: $(SHARED_LIB)
	@ln -sf libesdb.so.$(VERSION) $(BUILD)/libesdb.so.$(SOVERSION)
	@ln -sf libesdb.so.$(SOVERSION) $@

# Static archives by their exact name, so that a tool linked with the dynamic libc still loads nothing but libc.
replicate_libs = $(if $(filter $(1),$(REPLICATED)),$(REPLICATE_LIB) $(STATIC_LIB) $(call static_libs,$(LIBS_replicate)) -ldl)
static_libs = $(patsubst %,-l:lib%.a,$(filter-out m,$(1))) $(patsubst %,-l%,$(filter m,$(1)))

$(TOOLS): $(BUILD)/bin/%: $(BUILD)/obj/cmd/%.o $(CMD_LIB) $(STATIC_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(if $(filter $*,$(DYNAMIC_TOOLS)),-pie,$(LINK_TOOL)) -o $@ \
	    $(filter %.o,$^) $(CMD_LIB) $(call replicate_libs,$*) $(STATIC_LIB) $(call static_libs,$(LIBS_lib) $(LIBS_$*))

# Locked in with a limit on memory, which no sanitizer and no coverage counter survives: built plainly in every variant.
LIBEXEC_FLAGS = $(filter-out -fsanitize% -fno-sanitize% --coverage,$(CFLAGS_ALL))
$(call obj,$(LIBEXEC_SRC) $(LIBEXEC_SHARED_SRC)): CFLAGS_ALL := $(LIBEXEC_FLAGS)
$(LIBEXECS): $(BUILD)/libexec/esdb/%: $(BUILD)/obj/libexec/%.o $(call obj,$(LIBEXEC_SHARED_SRC))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LIBEXEC_FLAGS) $(LDFLAGS_ALL) -pie -o $@ $(filter %.o,$^) $(addprefix -l,$(LIBS_$*))

$(UNIT_TESTS): $(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(call obj,$(UNIT_SHARED_SRC)) $(STATIC_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(call replicate_libs,$*) $(STATIC_LIB) -lcmocka $(call static_libs,$(LIBS_lib)) \
	    $(addprefix -l,$(LIBS_$*))

$(HELPERS): $(BUILD)/%: $(BUILD)/obj/tests/%.o $(STATIC_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< $(STATIC_LIB) $(call static_libs,$(LIBS_lib) m)

# The simulator links the driver and the real log. RAFT_LIB: another build of libraft, as scripts/raft-asserts makes it.
RAFT_LIB ?= -l:libraft.a
$(SIM): $(call obj,$(SIM_SRC)) $(REPLICATE_LIB) $(STATIC_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(REPLICATE_LIB) $(RAFT_LIB) $(STATIC_LIB) $(call static_libs,$(LIBS_lib) m)

$(SHIMS): $(BUILD)/%.so: $(BUILD)/obj/tests/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -shared -o $@ $< -ldl

$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(STATIC_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(call replicate_libs,$*) $(STATIC_LIB) $(call static_libs,$(LIBS_lib)) $(addprefix -l,$(LIBS_$*))

$(addprefix $(BUILD)/bin/,$(REPLICATED)) $(addprefix $(BUILD)/unit/,$(REPLICATED)) $(addprefix $(BUILD)/fuzz/,$(REPLICATED)): $(REPLICATE_LIB)

$(BUILD)/esdb.pc: esdb.pc.in $(BUILD)/flags Makefile
	$(call say,PC,$@)
	$(Q)scripts/install pc >$@

-include $(ALL_OBJ:.o=.d)

# ---- things to do ---------------------------------------------------------------------------------------------------

export BUILD VERSION SOVERSION PREFIX LIBDIR LIBEXECDIR DESTDIR SANITIZE COVERAGE CC
export TOOLS := $(TOOLS)
export LIBEXECS := $(LIBEXECS)

SUBJOBS := -j$(shell nproc 2>/dev/null || echo 2)
# A run of make inside make that may use all cores even when the outer one does not.
SUBMAKE = $(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,$(SUBJOBS))

DEPS := deps-build deps-test deps-lint deps-bench deps-bench-cluster deps-torture deps-fuzz deps-coverage
.PHONY: demo demo-cluster check lint bench bench-peers bench-cluster torture fuzz coverage fresh-machine format
.PHONY: install uninstall clean help $(DEPS)

# Installs what is missing of a group, saying so first; prints nothing when all is there.
$(DEPS): deps-%:
	@scripts/deps $*

demo: deps-build
	+@$(SUBMAKE) all
	@scripts/demo.sh

# Three nodes of one store on loopback; the leader is killed, appends go on.
demo-cluster: deps-build
	+@$(SUBMAKE) all
	@scripts/demo-cluster.sh

# TESTS="tests/10-append.bats …" runs some files only, FILTER=REGEX some tests, UNIT=0 no unit tests.
check: deps-build deps-test
	+@$(SUBMAKE) all unit helpers
	@TESTS='$(TESTS)' FILTER='$(FILTER)' scripts/check

lint: deps-build deps-test deps-lint
	+@$(SUBMAKE) all unit
	@scripts/lint

bench bench-peers: deps-build deps-bench
	+@$(SUBMAKE) all helpers
	@tests/bench/$(if $(filter bench,$@),run,peers)

# Three nodes of esdb, beside three of etcd and NATS JetStream.
bench-cluster: deps-build deps-bench-cluster
	+@$(SUBMAKE) all helpers
	@tests/bench/cluster

# BOUNDED=1: the part that continuous integration runs.
torture: deps-build deps-test deps-torture
	+@$(SUBMAKE) all helpers
	@BOUNDED='$(BOUNDED)' tests/faults/run

# FUZZ_SECONDS each target (60), two at a time.
fuzz: deps-build deps-fuzz
	+@$(SUBMAKE) CC=clang SANITIZE=fuzzer-no-link,address,undefined BUILD=build-fuzz fuzzers
	@BUILD=build-fuzz scripts/fuzz

coverage: deps-build deps-test deps-coverage
	+@$(SUBMAKE) COVERAGE=1 all unit helpers
	@BUILD=build-cov COVERAGE=1 scripts/coverage

# Rewrites the C files in the project's format.
format: deps-lint
	@scripts/lint --fix-format

# Proves the README's command lines in a new minimal Debian root (needs root and debootstrap).
fresh-machine:
	@tests/fresh-machine

install: all
	@scripts/install install

uninstall:
	@scripts/install uninstall

clean:
	rm -rf build build-san* build-cov build-dyn build-fuzz

help:
	@scripts/help
