# what: overtaken rejections reach the library
# file: replicate/steps.c
# store: memory
s/m->append_result\.rejected <= match\)/0)/
