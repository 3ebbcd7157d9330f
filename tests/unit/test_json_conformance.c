/*
 * What the scanner accepts and what it refuses, in the categories of the public JSON conformance corpora: structure,
 * arrays, objects, strings, numbers, encodings, and the cases that RFC 8259 leaves to the implementation.
 *
 * Every case is tried alone (in a heap block of its exact size, so that a sanitizer sees a read past it), with white
 * space around it, as the data of an event, and as the data of an event that much follows, because the scanner
 * reads 16 bytes at a time where it can.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/json.h"

struct json_case {
    const char *name;
    const char *text;
    size_t len;
    const char *what; /* the error's text; NULL: the case is accepted */
    size_t offset;    /* of the error */
};

#define Y(name, text) \
    { name, text, sizeof(text) - 1, NULL, 0 }
#define N(name, text, offset, what) \
    { name, text, sizeof(text) - 1, what, offset }

#define TEN(x) x x x x x x x x x x

/* clang-format off */
static const struct json_case structure_cases[] = {
    Y("lonely string", "\"asd\""),
    Y("lonely empty string", "\"\""),
    Y("lonely integer", "42"),
    Y("lonely negative real", "-0.1"),
    Y("lonely true", "true"),
    Y("lonely false", "false"),
    Y("lonely null", "null"),
    Y("empty array", "[]"),
    Y("empty object", "{}"),
    Y("trailing newline", "[\"a\"]\n"),
    Y("leading and trailing white space", " \t\r\n[] \t\r\n"),
    Y("white space array", " [] "),
    Y("white space everywhere", " { \"a\" : [ 1 , 2 ] , \"b\" : { } , \"c\" : [ ] } "),
    Y("true in array", "[true]"),
    Y("string in empty object value", "{\"\":\"\"}"),
    N("no data", "", 0, "unexpected end of input"),
    N("only a space", " ", 1, "unexpected end of input"),
    N("only white space", " \n\t\r ", 5, "unexpected end of input"),
    N("angle bracket", "<.>", 0, "expected a value"),
    N("angle bracket null", "[<null>]", 1, "expected a value"),
    N("array trailing garbage", "[1]x", 3, "text after the value"),
    N("array with extra array close", "[1]]", 3, "text after the value"),
    N("array with unclosed string", "[\"asd]", 6, "unexpected end of input"),
    N("capitalized True", "[True]", 1, "expected a value"),
    N("capitalized NULL", "[NULL]", 1, "expected a value"),
    N("close unopened array", "1]", 1, "text after the value"),
    N("close unopened object", "{}}", 2, "text after the value"),
    N("lone close bracket", "]", 0, "expected a value"),
    N("lone close brace", "}", 0, "expected a value"),
    N("comma instead of closing brace", "{\"x\": true,", 11, "unexpected end of input"),
    N("double array", "[][]", 2, "text after the value"),
    N("two values", "1 2", 2, "text after the value"),
    N("end of array instead of object", "{\"a\":1]", 6, "expected ',' or '}' after value"),
    N("end of object instead of array", "[1}", 2, "expected ',' or ']' after value"),
    N("mismatched closers deep inside", "[{\"a\":[1}]", 8, "expected ',' or ']' after value"),
    N("incomplete UTF-8 BOM", "\xef\xbb{}", 0, "expected a value"),
    N("UTF-8 BOM", "\xef\xbb\xbf{}", 0, "byte order mark before the JSON text"),
    N("UTF-8 BOM and no data", "\xef\xbb\xbf", 0, "byte order mark before the JSON text"),
    N("UTF-8 BOM after the value", "{}\xef\xbb\xbf", 2, "text after the value"),
    N("UTF-8 BOM after white space", " \xef\xbb\xbf{}", 1, "expected a value"),
    N("U+2060 word joiner", "[\xe2\x81\xa0]", 1, "expected a value"),
    N("lone invalid byte", "\xe5", 0, "expected a value"),
    N("lone open bracket", "[", 1, "unexpected end of input"),
    N("lone open brace", "{", 1, "unexpected end of input"),
    N("NUL byte outside string", "[\0]", 1, "expected a value"),
    N("NUL byte after the value", "[]\0", 2, "text after the value"),
    N("number with trailing garbage", "2@", 1, "text after the value"),
    N("object followed by closing object", "{}}", 2, "text after the value"),
    N("object unclosed, no value", "{\"\":", 4, "unexpected end of input"),
    N("object with comment", "{\"a\":/*comment*/\"b\"}", 5, "expected a value"),
    N("object with trailing garbage", "{\"a\": true} \"x\"", 12, "text after the value"),
    N("object trailing comment", "{\"a\":\"b\"}/**/", 9, "text after the value"),
    N("object trailing line comment", "{\"a\":\"b\"}//", 9, "text after the value"),
    N("object trailing hash comment", "{\"a\":\"b\"}#", 9, "text after the value"),
    N("open array, apostrophe", "['", 1, "expected a value"),
    N("open array, comma", "[,", 1, "expected a value"),
    N("open array, open object", "[{", 2, "unexpected end of input"),
    N("open array, open string", "[\"a", 3, "unexpected end of input"),
    N("open array, string", "[\"a\"", 4, "unexpected end of input"),
    N("open array, object forever", "[{\"\":[{\"\":[{\"\":", 15, "unexpected end of input"),
    N("open object, close array", "{]", 1, "expected a key in double quotes"),
    N("open object, comma", "{,", 1, "expected a key in double quotes"),
    N("open object, open array", "{[", 1, "expected a key in double quotes"),
    N("open object, open string", "{\"a", 3, "unexpected end of input"),
    N("open object, string with apostrophes", "{'a'", 1, "expected a key in double quotes"),
    N("open escapes", "[\"\\{[\"\\{[\"\\{[\"\\{", 3, "invalid escape in string"),
    N("single eacute", "\xc3\xa9", 0, "expected a value"),
    N("single star", "*", 0, "expected a value"),
    N("uescaped line feed", "[\\u000A\"\"]", 1, "expected a value"),
    N("unclosed array", "[1", 2, "unexpected end of input"),
    N("unclosed array, partial null", "[ false, nul", 12, "unexpected end of input"),
    N("unclosed array, unfinished false", "[ true, fals", 12, "unexpected end of input"),
    N("unclosed array, unfinished true", "[ false, tru", 12, "unexpected end of input"),
    N("unclosed object", "{\"asd\":\"asd\"", 12, "unexpected end of input"),
    N("unicode identifier", "\xc3\xa5", 0, "expected a value"),
    N("form feed as white space", "[\f]", 1, "expected a value"),
    N("vertical tab as white space", "[\v]", 1, "expected a value"),
    N("no-break space as white space", "[\xc2\xa0]", 1, "expected a value"),
    N("backspace as white space", "[1\b]", 2, "expected ',' or ']' after value"),
    N("misspelt true", "[trie]", 3, "expected true, false or null"),
    N("misspelt null", "nulp", 3, "expected true, false or null"),
    N("literal with more letters", "[nulls]", 5, "expected ',' or ']' after value"),
    N("undefined", "undefined", 0, "expected a value"),
    N("unquoted word", "asd", 0, "expected a value"),
};

static const struct json_case array_cases[] = {
    Y("arrays with spaces", "[[]   ]"),
    Y("empty string", "[\"\"]"),
    Y("ending with newline", "[\"a\"]\n"),
    Y("false", "[false]"),
    Y("heterogeneous", "[null, 1, \"1\", {}]"),
    Y("null", "[null]"),
    Y("with 1 and newline", "[1\n]"),
    Y("with leading space", " [1]"),
    Y("with several null", "[1,null,null,null,2]"),
    Y("with trailing space", "[2] "),
    Y("nested", "[[[[1]],[]],[]]"),
    N("1 true without comma", "[1 true]", 3, "expected ',' or ']' after value"),
    N("invalid UTF-8", "[a\xe5]", 1, "expected a value"),
    N("colon instead of comma", "[\"\": 1]", 3, "expected ',' or ']' after value"),
    N("comma after close", "[\"\"],", 4, "text after the value"),
    N("comma and number", "[,1]", 1, "expected a value"),
    N("double comma", "[1,,2]", 3, "expected a value"),
    N("double extra comma", "[\"x\",,]", 5, "expected a value"),
    N("extra close", "[\"x\"]]", 5, "text after the value"),
    N("extra comma", "[\"\",]", 4, "expected a value"),
    N("incomplete", "[\"x\"", 4, "unexpected end of input"),
    N("incomplete invalid value", "[x", 1, "expected a value"),
    N("inner array no comma", "[3[4]]", 2, "expected ',' or ']' after value"),
    N("items separated by semicolon", "[1;2]", 2, "expected ',' or ']' after value"),
    N("just comma", "[,]", 1, "expected a value"),
    N("just minus", "[-]", 2, "expected a digit after '-'"),
    N("missing value", "[   , \"\"]", 4, "expected a value"),
    N("newlines unclosed", "[\"a\",\n4\n,1,", 11, "unexpected end of input"),
    N("number and comma", "[1,]", 3, "expected a value"),
    N("number and several commas", "[1,,]", 3, "expected a value"),
    N("spaces vertical tab formfeed", "[\"\va\"\\f]", 2, "control character in string"),
    N("star inside", "[*]", 1, "expected a value"),
    N("unclosed", "[\"\"", 3, "unexpected end of input"),
    N("unclosed trailing comma", "[1,", 3, "unexpected end of input"),
    N("unclosed with new lines", "[1,\n1\n,1", 8, "unexpected end of input"),
    N("unclosed with object inside", "[{}", 3, "unexpected end of input"),
};

static const struct json_case object_cases[] = {
    Y("basic", "{\"asd\":\"sdf\"}"),
    Y("two members", "{\"asd\":\"sdf\", \"dfg\":\"fgh\"}"),
    Y("duplicated key", "{\"a\":\"b\",\"a\":\"c\"}"),
    Y("duplicated key and value", "{\"a\":\"b\",\"a\":\"b\"}"),
    Y("empty key", "{\"\":0}"),
    Y("escaped null in key", "{\"foo\\u0000bar\": 42}"),
    Y("extreme numbers", "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
    Y("long strings", "{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}], \"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"),
    Y("simple", "{\"a\":[]}"),
    Y("string unicode", "{\"title\":\"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u0430 \\u0417\\u0435\\u043c\\u043b\\u0435\\u043a\"}"),
    Y("with newlines", "{\n\"a\": \"b\"\n}"),
    Y("envelope keys twice inside data", "{\"data\":1,\"data\":2}"),
    N("bad value", "[\"x\", truth]", 9, "expected true, false or null"),
    N("bracket key", "{[: \"x\"}", 1, "expected a key in double quotes"),
    N("comma instead of colon", "{\"x\", null}", 4, "expected ':' after key"),
    N("double colon", "{\"x\"::\"b\"}", 5, "expected a value"),
    N("emoji key", "{\xf0\x9f\x87\xa8\xf0\x9f\x87\xad}", 1, "expected a key in double quotes"),
    N("garbage at end", "{\"a\":\"a\" 123}", 9, "expected ',' or '}' after value"),
    N("key with single quotes", "{key: 'value'}", 1, "expected a key in double quotes"),
    N("continuation byte as key", "{\"\xb9\":\"0\",}", 2, "invalid UTF-8"),
    N("missing colon", "{\"a\" b}", 5, "expected ':' after key"),
    N("missing key", "{:\"b\"}", 1, "expected a key in double quotes"),
    N("missing semicolon", "{\"a\" \"b\"}", 5, "expected ':' after key"),
    N("missing value", "{\"a\":", 5, "unexpected end of input"),
    N("missing value, closed", "{\"a\":}", 5, "expected a value"),
    N("no colon", "{\"a\"", 4, "unexpected end of input"),
    N("non-string key", "{1:1}", 1, "expected a key in double quotes"),
    N("non-string key, garbage", "{9999E9999:1}", 1, "expected a key in double quotes"),
    N("repeated null null", "{null:null,null:null}", 1, "expected a key in double quotes"),
    N("several trailing commas", "{\"id\":0,,,,,}", 8, "expected a key in double quotes"),
    N("single quote", "{'a':0}", 1, "expected a key in double quotes"),
    N("trailing comma", "{\"id\":0,}", 8, "expected a key in double quotes"),
    N("two commas in a row", "{\"a\":\"b\",,\"c\":\"d\"}", 9, "expected a key in double quotes"),
    N("unquoted key", "{a: \"b\"}", 1, "expected a key in double quotes"),
    N("unterminated value", "{\"a\":\"a", 7, "unexpected end of input"),
    N("with single string", "{ \"foo\" : \"bar\", \"a\" }", 21, "expected ':' after key"),
    N("closing bracket after key", "{\"a\"]", 4, "expected ':' after key"),
};

static const struct json_case number_cases[] = {
    Y("plain", "[123e65]"),
    Y("0e+1", "[0e+1]"),
    Y("0e1", "[0e1]"),
    Y("0E0", "[0E0]"),
    Y("after space", "[ 4]"),
    Y("double close to zero", "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]"),
    Y("integer with exponent", "[20e1]"),
    Y("minus zero", "[-0]"),
    Y("minus zero point", "[-0.0]"),
    Y("negative integer", "[-123]"),
    Y("negative one", "[-1]"),
    Y("real capital E", "[1E22]"),
    Y("real capital E, negative exponent", "[1E-2]"),
    Y("real capital E, positive exponent", "[1E+2]"),
    Y("real exponent", "[123e45]"),
    Y("real fraction exponent", "[123.456e78]"),
    Y("real negative exponent", "[1e-2]"),
    Y("real positive exponent", "[1e+2]"),
    Y("simple integer", "[123]"),
    Y("simple real", "[123.456789]"),
    Y("leading zeros in exponent", "[1e0001]"),
    Y("lonely zero", "0"),
    Y("thirty digits", "123456789012345678901234567890"),
    Y("huge exponent", "[0.4e00669999999999999999999999999999999999999999999999999999999999999999999999999969999999006]"),
    Y("double overflow", "[1e400]"),
    Y("negative double overflow", "[-1e9999]"),
    Y("underflow", "[123e-10000000]"),
    Y("too big positive integer", "[100000000000000000000]"),
    Y("too big negative integer", "[-123123123123123123123123123123]"),
    N("++", "[++1234]", 1, "expected a value"),
    N("+1", "[+1]", 1, "expected a value"),
    N("+Inf", "[+Inf]", 1, "expected a value"),
    N("-01", "[-01]", 2, "leading zero in number"),
    N("-1.0.", "[-1.0.]", 5, "expected ',' or ']' after value"),
    N("-2.", "[-2.]", 4, "expected a digit after '.'"),
    N("-NaN", "[-NaN]", 2, "expected a digit after '-'"),
    N(".-1", "[.-1]", 1, "expected a value"),
    N(".2e-3", "[.2e-3]", 1, "expected a value"),
    N("0.1.2", "[0.1.2]", 4, "expected ',' or ']' after value"),
    N("0.3e", "[0.3e]", 5, "expected a digit in the exponent"),
    N("0.3e+", "[0.3e+]", 6, "expected a digit in the exponent"),
    N("0.e1", "[0.e1]", 3, "expected a digit after '.'"),
    N("0E", "[0E]", 3, "expected a digit in the exponent"),
    N("0E+", "[0E+]", 4, "expected a digit in the exponent"),
    N("0x1", "[0x1]", 2, "expected ',' or ']' after value"),
    N("0x42", "0x42", 1, "text after the value"),
    N("00", "[00]", 1, "leading zero in number"),
    N("012", "[012]", 1, "leading zero in number"),
    N("-012", "-012", 1, "leading zero in number"),
    N("1 000", "[1 000.0]", 3, "expected ',' or ']' after value"),
    N("1.", "1.", 2, "unexpected end of input"),
    N("1.0e", "[1.0e]", 5, "expected a digit in the exponent"),
    N("1.0e-", "[1.0e-]", 6, "expected a digit in the exponent"),
    N("1eE2", "[1eE2]", 3, "expected a digit in the exponent"),
    N("2.e+3", "[2.e+3]", 3, "expected a digit after '.'"),
    N("9.e+", "[9.e+]", 3, "expected a digit after '.'"),
    N("Inf", "[Inf]", 1, "expected a value"),
    N("Infinity", "[Infinity]", 1, "expected a value"),
    N("-Infinity", "[-Infinity]", 2, "expected a digit after '-'"),
    N("NaN", "[NaN]", 1, "expected a value"),
    N("nan", "[nan]", 2, "expected true, false or null"),
    N("fullwidth one", "[\xef\xbc\x91]", 1, "expected a value"),
    N("expression", "[1+2]", 2, "expected ',' or ']' after value"),
    N("invalid minus sign", "[-foo]", 2, "expected a digit after '-'"),
    N("minus space 1", "[- 1]", 2, "expected a digit after '-'"),
    N("minus and end", "-", 1, "unexpected end of input"),
    N("minus minus", "[--1]", 2, "expected a digit after '-'"),
    N("dot and no digits", "[1.a]", 3, "expected a digit after '.'"),
    N("starting with dot", "[.123]", 1, "expected a value"),
    N("1ea", "[1ea]", 3, "expected a digit in the exponent"),
    N("with letter", "[1.2a-3]", 4, "expected ',' or ']' after value"),
    N("with trailing invalid byte", "[1\xe5]", 2, "expected ',' or ']' after value"),
    N("exponent and end", "1e", 2, "unexpected end of input"),
    N("two signs in exponent", "[1e+-2]", 4, "expected a digit in the exponent"),
    N("fraction in exponent", "[1e2.5]", 4, "expected ',' or ']' after value"),
    N("thousands separator", "[1_000]", 2, "expected ',' or ']' after value"),
};

static const struct json_case string_cases[] = {
    Y("allowed escapes", "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    Y("1 2 3 bytes of UTF-8 by escapes", "[\"\\u0060\\u012a\\u12AB\"]"),
    Y("accepted surrogate pair", "[\"\\uD801\\udc37\"]"),
    Y("accepted surrogate pairs", "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
    Y("backslash and u escaped zero", "[\"\\\\u0000\"]"),
    Y("backslash doublequotes", "[\"\\\"\"]"),
    Y("comments in string", "[\"a/*b*/c/*d//e\"]"),
    Y("double escape a", "[\"\\\\a\"]"),
    Y("double escape n", "[\"\\\\n\"]"),
    Y("escaped control character", "[\"\\u0012\"]"),
    Y("escaped noncharacter", "[\"\\uFFFF\"]"),
    Y("last surrogates 1 and 2", "[\"\\uDBFF\\uDFFF\"]"),
    Y("noncharacter in UTF-8 U+FFFF", "[\"\xef\xbf\xbf\"]"),
    Y("noncharacter in UTF-8 U+10FFFF", "[\"\xf4\x8f\xbf\xbf\"]"),
    Y("byte order mark inside a string", "[\"\xef\xbb\xbf\"]"),
    Y("null escape", "[\"\\u0000\"]"),
    Y("one byte UTF-8 by escape", "[\"\\u002c\"]"),
    Y("pi", "[\"\xcf\x80\"]"),
    Y("reserved character in UTF-8", "[\"\xf0\x9b\xbf\xbf\"]"),
    Y("simple ASCII", "[\"asd \"]"),
    Y("space", "\" \""),
    Y("three bytes UTF-8 by escape", "[\"\\u0821\"]"),
    Y("two bytes UTF-8 by escape", "[\"\\u0123\"]"),
    Y("U+2028 line separator", "[\"\xe2\x80\xa8\"]"),
    Y("U+2029 paragraph separator", "[\"\xe2\x80\xa9\"]"),
    Y("escaped backslash at the end", "[\"a\\\\\"]"),
    Y("UTF-8 text", "[\"\xe2\x82\xac\xf0\x9d\x84\x9e\"]"),
    Y("with DEL", "[\"a\x7f" "a\"]"),
    Y("unescaped C1 control", "[\"\xc2\x85\"]"),
    Y("lone high surrogate escape", "[\"\\uDADA\"]"),
    Y("lone low surrogate escape", "[\"\\uDd1e\"]"),
    Y("high surrogate escape and a letter", "[\"\\uD800abc\"]"),
    Y("two high surrogate escapes", "[\"\\uD800\\uD800\\n\"]"),
    Y("inverted surrogate escapes", "[\"\\uDd1e\\uD834\"]"),
    Y("incomplete surrogate and escape", "[\"\\uD800\\n\"]"),
    Y("a hundred letters", "\"" TEN("aaaaaaaaaa") "\""),
    Y("a hundred accents", "\"" TEN("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9") "\""),
    N("1 surrogate then escape", "[\"\\uD800\\\"]", 11, "unexpected end of input"),
    N("1 surrogate then escape u", "[\"\\uD800\\u\"]", 10, "expected four hexadecimal digits after \\u"),
    N("1 surrogate then escape u1", "[\"\\uD800\\u1\"]", 11, "expected four hexadecimal digits after \\u"),
    N("1 surrogate then escape u1x", "[\"\\uD800\\u1x\"]", 11, "expected four hexadecimal digits after \\u"),
    N("accentuated char no quotes", "[\xc3\xa9]", 1, "expected a value"),
    N("escaped NUL byte", "[\"\\\0\"]", 3, "invalid escape in string"),
    N("escape x", "[\"\\x00\"]", 3, "invalid escape in string"),
    N("escaped backslash bad", "[\"\\\\\\\"]", 7, "unexpected end of input"),
    N("escaped tab", "[\"\\\t\"]", 3, "invalid escape in string"),
    N("escaped emoji", "[\"\\\xf0\x9f\x8c\x80\"]", 3, "invalid escape in string"),
    N("escaped apostrophe", "[\"\\'\"]", 3, "invalid escape in string"),
    N("escape zero", "[\"\\0\"]", 3, "invalid escape in string"),
    N("escape capital U", "[\"\\U0041\"]", 3, "invalid escape in string"),
    N("incomplete escape", "[\"\\\"]", 5, "unexpected end of input"),
    N("incomplete escaped character", "[\"\\u00A\"]", 7, "expected four hexadecimal digits after \\u"),
    N("invalid backslash escape", "[\"\\a\"]", 3, "invalid escape in string"),
    N("invalid unicode escape", "[\"\\uqqqq\"]", 4, "expected four hexadecimal digits after \\u"),
    N("invalid UTF-8 after escape", "[\"\\\xe5\"]", 3, "invalid escape in string"),
    N("invalid UTF-8 in escape", "[\"\\u\xe5\"]", 4, "expected four hexadecimal digits after \\u"),
    N("leading uescaped thin space", "[\\u0020\"asd\"]", 1, "expected a value"),
    N("no quotes with bad escape", "[\\n]", 1, "expected a value"),
    N("single doublequote", "\"", 1, "unexpected end of input"),
    N("single quote", "['single quote']", 1, "expected a value"),
    N("start escape unclosed", "[\"\\", 3, "unexpected end of input"),
    N("unescaped control character 01", "[\"a\x01" "a\"]", 3, "control character in string"),
    N("unescaped control character 1f", "[\"a\x1f" "a\"]", 3, "control character in string"),
    N("unescaped newline", "[\"new\nline\"]", 5, "control character in string"),
    N("unescaped tab", "[\"\t\"]", 2, "control character in string"),
    N("unescaped NUL", "[\"a\0a\"]", 3, "NUL byte in string"),
    N("control character after 20 bytes", "\"aaaaaaaaaaaaaaaaaaaa\x02\"", 21, "control character in string"),
    N("with trailing garbage", "\"\"x", 2, "text after the value"),
};

static const struct json_case encoding_cases[] = {
    Y("first two-byte character U+0080", "\"\xc2\x80\""),
    Y("last two-byte character U+07FF", "\"\xdf\xbf\""),
    Y("first three-byte character U+0800", "\"\xe0\xa0\x80\""),
    Y("U+D7FF before the surrogates", "\"\xed\x9f\xbf\""),
    Y("U+E000 after the surrogates", "\"\xee\x80\x80\""),
    Y("first four-byte character U+10000", "\"\xf0\x90\x80\x80\""),
    Y("last character U+10FFFF", "\"\xf4\x8f\xbf\xbf\""),
    N("UTF-16 little endian with BOM", "\xff\xfe[\0\"\0\xe9\0\"\0]\0", 0, "expected a value"),
    N("UTF-16 big endian, no BOM", "\0[\0\"\0\xe9\0\"\0]", 0, "expected a value"),
    N("UTF-16 little endian, no BOM", "[\0\"\0\xe9\0\"\0]\0", 1, "expected a value"),
    N("ISO 8859-1", "[\"\xe9\"]", 2, "invalid UTF-8"),
    N("lone continuation byte", "[\"\x81\"]", 2, "invalid UTF-8"),
    N("not in unicode range", "[\"\xf4\xbf\xbf\xbf\"]", 2, "invalid UTF-8"),
    N("U+110000", "[\"\xf4\x90\x80\x80\"]", 2, "invalid UTF-8"),
    N("overlong two bytes", "[\"\xc0\xaf\"]", 2, "invalid UTF-8"),
    N("overlong NUL", "[\"\xc0\x80\"]", 2, "invalid UTF-8"),
    N("overlong c1", "[\"\xc1\xbf\"]", 2, "invalid UTF-8"),
    N("overlong three bytes", "[\"\xe0\x9f\xbf\"]", 2, "invalid UTF-8"),
    N("overlong four bytes", "[\"\xf0\x8f\xbf\xbf\"]", 2, "invalid UTF-8"),
    N("overlong six bytes", "[\"\xfc\x83\xbf\xbf\xbf\xbf\"]", 2, "invalid UTF-8"),
    N("overlong six bytes null", "[\"\xfc\x80\x80\x80\x80\x80\"]", 2, "invalid UTF-8"),
    N("five bytes", "[\"\xf8\x88\x80\x80\x80\"]", 2, "invalid UTF-8"),
    N("surrogate U+D800", "[\"\xed\xa0\x80\"]", 2, "invalid UTF-8"),
    N("surrogate U+DFFF", "[\"\xed\xbf\xbf\"]", 2, "invalid UTF-8"),
    N("surrogate pair in UTF-8", "[\"\xed\xa0\xbd\xed\xb8\x80\"]", 2, "invalid UTF-8"),
    N("byte fe", "[\"\xfe\"]", 2, "invalid UTF-8"),
    N("byte ff", "[\"\xff\"]", 2, "invalid UTF-8"),
    N("truncated two bytes", "[\"\xe0\xff\"]", 2, "invalid UTF-8"),
    N("quote where a continuation must be", "[\"\xc3\"]", 2, "invalid UTF-8"),
    N("quote after two of three", "[\"\xe2\x82\"]", 2, "invalid UTF-8"),
    N("quote after three of four", "[\"\xf0\x9f\x98\"]", 2, "invalid UTF-8"),
    N("cut off by the end", "[\"\xf0\x9f\x98", 5, "unexpected end of input"),
    N("bad after good", "[\"\xc3\xa9\xc3\xa9\xc3(\"]", 6, "invalid UTF-8"),
    N("bad after 20 ASCII", "\"aaaaaaaaaaaaaaaaaaaa\xff\"", 21, "invalid UTF-8"),
};
/* clang-format on */

/* A copy in a block of exactly its size, so that reading past it is found. */
static char *exact(const char *text, size_t len) {
    char *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    return copy;
}

static char *joined(const char *before, const struct json_case *c, const char *after, size_t *len) {
    size_t a = strlen(before), b = strlen(after);
    char *text = malloc(a + c->len + b);

    assert_non_null(text);
    memcpy(text, before, a);
    memcpy(text + a, c->text, c->len);
    memcpy(text + a + c->len, after, b);
    *len = a + c->len + b;
    return text;
}

static void try_alone(const struct json_case *c) {
    char *text = exact(c->text, c->len);
    struct fmt_json_value value = {0};
    struct fmt_json_error err = {0};
    int rc = fmt_json_scan(text, c->len, &value, &err);

    if (c->what == NULL) {
        if (rc != FMT_JSON_OK)
            fail_msg("%s: refused at byte %zu: %s", c->name, err.offset, err.what);
        assert_true(value.at >= text && value.at + value.len <= text + c->len);
    } else {
        if (rc != FMT_JSON_ERROR)
            fail_msg("%s: accepted", c->name);
        if (err.offset != c->offset || strcmp(err.what, c->what) != 0)
            fail_msg("%s: byte %zu: \"%s\", expected byte %zu: \"%s\"", c->name, err.offset, err.what, c->offset,
                     c->what);
    }
    free(text);
}

static void try_in_white_space(const struct json_case *c) {
    size_t len;
    char *text = joined("\n  ", c, "                                ", &len);
    struct fmt_json_value value;
    struct fmt_json_error err;
    int rc = fmt_json_scan(text, len, &value, &err);

    if (rc != (c->what == NULL ? FMT_JSON_OK : FMT_JSON_ERROR))
        fail_msg("%s: other answer in white space", c->name);
    free(text);
}

static void try_as_data(const struct json_case *c, const char *after) {
    size_t len, event_len, consumed = 0;
    char *text = joined("{\"data\":", c, after, &len);
    struct fmt_envelope event;
    struct fmt_json_error err;
    int rc = fmt_envelope_scan(text, len, true, &consumed, &event, &err);

    event_len = strlen("{\"data\":") + c->len + 1;
    if (c->what == NULL) {
        if (rc != FMT_JSON_OK || consumed != event_len)
            fail_msg("%s: refused as data", c->name);
        assert_non_null(event.key[FMT_KEY_DATA].at);
    } else if (rc == FMT_JSON_OK && consumed == event_len) {
        fail_msg("%s: accepted as data", c->name);
    }
    free(text);
}

static void try_cases(const struct json_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        try_alone(&cases[i]);
        try_in_white_space(&cases[i]);
        try_as_data(&cases[i], "}");
        try_as_data(&cases[i], "}\n{\"event_type\":\"OrderPlaced\",\"data\":{\"order_id\":12}}\n");
    }
    print_message("%zu cases\n", count);
}

#define TRY_ALL(cases) try_cases(cases, sizeof cases / sizeof cases[0])

static void structure_is_strict(void **state) {
    (void)state;
    TRY_ALL(structure_cases);
}

static void arrays_are_strict(void **state) {
    (void)state;
    TRY_ALL(array_cases);
}

static void objects_are_strict(void **state) {
    (void)state;
    TRY_ALL(object_cases);
}

static void numbers_are_strict_and_of_any_size(void **state) {
    (void)state;
    TRY_ALL(number_cases);
}

static void strings_are_strict_and_keep_lone_surrogate_escapes(void **state) {
    (void)state;
    TRY_ALL(string_cases);
}

static void utf8_is_strict(void **state) {
    (void)state;
    TRY_ALL(encoding_cases);
}

/* Every byte in the place of an escape's letter, and of a hexadecimal digit. */
static void exactly_the_eight_escapes_and_hexadecimal_digits_are_known(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char letter[] = "\"\\?\"", digit[] = "\"\\u123?\"";
        struct fmt_json_value v;
        struct fmt_json_error err;

        letter[2] = digit[6] = (char)c;
        assert_int_equal(fmt_json_scan(letter, 4, &v, &err) == FMT_JSON_OK, c != 0 && strchr("\"\\/bfnrt", c) != NULL);
        assert_int_equal(fmt_json_scan(digit, 8, &v, &err) == FMT_JSON_OK,
                         c != 0 && strchr("0123456789abcdefABCDEF", c) != NULL);
    }
}

/* `depth` arrays or objects in each other. */
static void try_depth(bool objects, size_t depth, bool accepted) {
    const char *open = objects ? "{\"a\":" : "[", *inner = objects ? "{}" : "[]";
    size_t open_len = strlen(open), len = 0;
    char *text = malloc(depth * (open_len + 1) + 2);
    struct fmt_json_value value;
    struct fmt_json_error err;

    assert_non_null(text);
    for (size_t i = 1; i < depth; i++, len += open_len)
        memcpy(text + len, open, open_len);
    memcpy(text + len, inner, 2);
    len += 2;
    for (size_t i = 1; i < depth; i++)
        text[len++] = objects ? '}' : ']';

    struct json_case c = {"nesting", text, len, accepted ? NULL : "nesting deeper than 256", 256 * open_len};

    try_as_data(&c, "}");
    if (accepted) {
        assert_int_equal(fmt_json_scan(text, len, &value, &err), FMT_JSON_OK);
    } else {
        assert_int_equal(fmt_json_scan(text, len, &value, &err), FMT_JSON_ERROR);
        assert_string_equal(err.what, c.what);
        assert_int_equal(err.offset, c.offset);
    }
    free(text);
}

static void nesting_of_256_is_accepted_and_257_refused(void **state) {
    (void)state;
    for (int objects = 0; objects < 2; objects++) {
        try_depth(objects, 1, true);
        try_depth(objects, 255, true);
        try_depth(objects, 256, true);
        try_depth(objects, 257, false);
        try_depth(objects, 100000, false);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structure_is_strict),
        cmocka_unit_test(arrays_are_strict),
        cmocka_unit_test(objects_are_strict),
        cmocka_unit_test(numbers_are_strict_and_of_any_size),
        cmocka_unit_test(strings_are_strict_and_keep_lone_surrogate_escapes),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(exactly_the_eight_escapes_and_hexadecimal_digits_are_known),
        cmocka_unit_test(nesting_of_256_is_accepted_and_257_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
