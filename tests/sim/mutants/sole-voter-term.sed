# what: a sole voter elects itself in a term that it may have written in
# file: replicate/driver.c
# store: memory
s/^        term\+\+;//
