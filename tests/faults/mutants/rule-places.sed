# what: a handle goes on with the places that it knows after somebody else has added to the live index
# file: libcore/live.c
# row: imports conflicts
s/^ *es_known_places_at\(db, frames\);$//
/if \(db->live\.entry\[target - 1\]\.stream_hash == /,+1d
