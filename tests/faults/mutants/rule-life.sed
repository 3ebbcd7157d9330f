# what: head is not told that a frame hides events of a stream
# file: libcore/append.c
# row: kill-life
/^ *es_head_set_life\(db, tail->mark\.end_position/d
s/^    if \(b->tells_life\) \/\*.*/    (void)es_head_set_life;/
