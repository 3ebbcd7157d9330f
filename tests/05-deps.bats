#!/usr/bin/env bats
# Where libraft comes from: scripts/backports derives its source from apt's own entries, and the build refuses an old one.
load lib/load

backports() {
    run "$REPO/scripts/backports" "$@"
}

@test "backports: a one-line entry keeps its options, and its mirror" {
    cat >sources.list <<'END'
# deb http://commented.example/debian bookworm main
deb cdrom:[Debian 12]/ bookworm contrib
deb [arch=amd64 signed-by=/usr/share/keyrings/other.gpg] http://packages.example/other bookworm main
deb-src http://mirror.example/debian bookworm main
deb [ arch=amd64 signed-by=/usr/share/keyrings/d.gpg ]  http://mirror.example/debian	bookworm main contrib # ours
deb http://mirror.example/debian bookworm-updates main
deb http://mirror.example/debian-security bookworm-security main
END
    backports bookworm sources.list
    assert_success
    assert_output '#list
deb [ arch=amd64 signed-by=/usr/share/keyrings/d.gpg ] http://mirror.example/debian bookworm-backports main'
}

@test "backports: a stanza keeps its mirror and its key, also one that stands in it" {
    cat >debian.sources <<'END'
# a comment
Types: deb deb-src
# http://snapshot.example/
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
Enabled: yes

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
END
    backports bookworm debian.sources
    assert_success
    assert_output '#sources
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF'
}

@test "backports: entries that are switched off, or only of sources, do not count" {
    printf 'Types: deb-src\nURIs: http://a.example/debian\nSuites: bookworm\nComponents: main\n\n' >a.sources
    printf 'Enabled: no\nTypes: deb\nURIs: http://b.example/debian\nSuites: bookworm\nComponents: main\n' >>a.sources
    backports bookworm a.sources
    assert_failure 1
    assert_output ''
}

@test "backports: nothing to do where they are among the sources" {
    printf 'deb http://mirror.example/debian bookworm main\n' >a.list
    printf 'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-backports\nComponents: main\n' >b.sources
    backports bookworm a.list b.sources
    assert_failure 3
    assert_output ''
}

@test "backports: of another release there is nothing to derive" {
    printf 'deb http://mirror.example/debian bookworm main\n' >a.list
    backports trixie a.list
    assert_failure 1
    backports trixie no-such-file.list
    assert_failure 1
}

@test "the build refuses libraft 0.15 and says why" {
    mkdir pc
    printf 'Name: raft\nDescription: old\nVersion: 0.15.0\nLibs: -lraft\n' >pc/raft.pc
    unset MAKELEVEL MAKEFLAGS
    PKG_CONFIG_PATH=$PWD/pc run make -C "$REPO" raft-version
    assert_failure
    assert_output --partial 'needs libraft 0.22 or newer (here: 0.15.0)'
    assert_output --partial 'commits that one node holds'
    sed -i 's/0\.15\.0/0.22.0/' pc/raft.pc
    PKG_CONFIG_PATH=$PWD/pc run make -C "$REPO" raft-version
    assert_success
}
