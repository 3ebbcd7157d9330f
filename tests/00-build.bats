#!/usr/bin/env bats
# What the build makes and installs.
load lib/load

# The variables that make exports to the tests would otherwise reach the inner make.
setup() {
    esdb_setup
    unset BUILD VERSION SOVERSION PREFIX LIBDIR LIBEXECDIR DESTDIR MAKELEVEL TOOLS LIBEXECS
    # What was set on the outer command line holds for the inner make too, or it would build everything again.
    case ${MAKEFLAGS:-} in
    *' -- '*) MAKEFLAGS=" -- ${MAKEFLAGS#* -- }" ;;
    *) unset MAKEFLAGS ;;
    esac
}

@test "libesdb.so exports esdb_ functions and nothing else" {
    run nm -D --defined-only --format=posix "$BUILD_DIR/libesdb.so"
    assert_success
    assert_output --regexp '(^|[^a-z_])esdb_[a-z_]+'
    run grep -v -E '^(esdb_[a-z0-9_]+@@ESDB_0|ESDB_0) |^_*(asan|ubsan|sanitizer|odr|gcov|init|fini|edata|bss_start|end)|^$' <<<"$output"
    assert_output ''
}

@test "every function of esdb.h is in libesdb.so" {
    gcc -E -P -I"$REPO" "$REPO/libcore/esdb.h" | tr '\n' ' ' | tr ';' '\n' |
        grep -v -E '^ *(typedef|enum|struct [a-z_]+ *\{)' | grep -o 'esdb_[a-z0-9_]* *(' | tr -d ' (' | sort -u >declared
    nm -D --defined-only --format=posix "$BUILD_DIR/libesdb.so" | sed -n 's/^\(esdb_[a-z0-9_]*\)@.*/\1/p' | sort -u >defined
    run diff declared defined
    assert_output ''
}

@test "the shared library has a versioned name" {
    run readelf -d "$BUILD_DIR/libesdb.so"
    assert_output --partial 'Library soname: [libesdb.so.0]'
}

@test "tools need no shared libraries" {
    skip_if_variant
    for tool in "$BUILD_DIR"/bin/*; do
        run readelf -d "$tool"
        if [ "${tool##*/}" = esdb-raftd ]; then # asks the name service, which is in libc
            output=$(grep '(NEEDED)' <<<"$output" | grep -v -E '\[lib(c|m|dl|pthread)\.so\.[0-9]+\]|\[ld-linux' || true)
        fi
        refute_output --partial '(NEEDED)'
    done
}

@test "esdb.h compiles alone as strict C11" {
    printf '#include <esdb.h>\nint main(void) { return 0; }\n' >alone.c
    gcc -std=c11 -pedantic-errors -Wall -Wextra -Werror -I"$REPO/libcore" -fsyntax-only alone.c
}

@test "esdb.h compiles alone as C++" {
    command -v g++ >/dev/null || skip 'needs g++'
    printf '#include <esdb.h>\nint main() { return 0; }\n' >alone.c
    g++ -x c++ -Wall -Wextra -Werror -I"$REPO/libcore" -fsyntax-only alone.c
}

@test "an unsafe string function is a compile error" {
    for call in 'strcpy(b, a)' 'strcat(b, a)' 'sprintf(b, "%s", a)' 'atoi(a)' 'strtok(b, a)'; do
        printf 'int f(char *b, const char *a);\nint f(char *b, const char *a) { return (int)(long)%s; }\n' "$call" >bad.c
        run gcc -std=c11 -D_GNU_SOURCE -include "$REPO/format/banned.h" -fsyntax-only bad.c
        assert_failure
        assert_output --partial 'poisoned'
    done
}

@test "a second make has nothing to do" {
    skip_if_variant
    run make -C "$REPO" all
    assert_success
    refute_output --regexp '(CC|LD|AR) '
}

@test "make install puts tools, libraries, header, pkg-config file and pages where they belong; uninstall removes them" {
    skip_if_variant
    root="$PWD/a root"
    run make -C "$REPO" install DESTDIR="$root" PREFIX=/usr
    assert_success
    for tool in "$BUILD_DIR"/bin/*; do
        assert_file_executable "$root/usr/bin/$(basename "$tool")"
    done
    for helper in "$BUILD_DIR"/libexec/esdb/*; do
        assert_file_executable "$root/usr/libexec/esdb/$(basename "$helper")"
    done
    assert_file_exist "$root/usr/include/esdb.h"
    assert_file_exist "$root/usr/lib/libesdb.a"
    assert_file_exist "$root/usr/lib/libesdb.so.0"
    assert_file_contains "$root/usr/lib/pkgconfig/esdb.pc" '^prefix=/usr$'
    for page in "$REPO"/man/*.[1-8]; do
        [ ! -e "$page" ] || assert_file_exist "$root/usr/share/man/man${page##*.}/$(basename "$page")"
    done

    run make -C "$REPO" uninstall DESTDIR="$root" PREFIX=/usr
    assert_success
    run find "$root" ! -type d
    assert_output ''
}

@test "a C program builds against the installed library through pkg-config, shared and static" {
    skip_if_variant
    prefix=$PWD/inst
    make -C "$REPO" install PREFIX="$prefix" DESTDIR= >/dev/null
    printf '#include <esdb.h>\n#include <stdio.h>\nint main(void) { puts(esdb_strerror(0)); return 0; }\n' >program.c
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    # shellcheck disable=SC2046 # pkg-config prints a list
    gcc program.c -o shared $(pkg-config --cflags --libs esdb)
    LD_LIBRARY_PATH=$prefix/lib ./shared
    # shellcheck disable=SC2046
    gcc -static program.c -o static $(pkg-config --static --cflags --libs esdb)
    ./static
}

@test "a checkout in a path with a space builds" {
    skip_if_variant
    mkdir 'a copy'
    (cd "$REPO" && cp -R Makefile format libcore cmd scripts esdb.pc.in "$BATS_TEST_TMPDIR/a copy/")
    run make -C 'a copy' lib OPT=-O0
    assert_success
    assert_file_exist 'a copy/build/libesdb.a'
}

@test "installing dependencies says nothing and asks for nothing when all are there" {
    run scripts_deps build test
    assert_success
    assert_output ''
}

scripts_deps() {
    (cd "$REPO" && unshare -n true 2>/dev/null && unshare -n scripts/deps "$@" || scripts/deps "$@")
}

@test "without apt, missing dependencies are listed" {
    mkdir bin
    for tool in sh cat grep ls sed id printf tr; do ln -s "$(command -v $tool)" "bin/$tool"; done
    run env PATH="$PWD/bin" sh "$REPO/scripts/deps" build
    assert_failure 1
    assert_output --partial 'libyaml-dev'
    assert_output --partial 'no apt-get'
}
