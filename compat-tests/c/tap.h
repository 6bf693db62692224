// The frame of these programs: tests one after the other, told as TAP (https://testanything.org).

#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

// Fails the test that it stands in.
#define EXPECT(condition)                                                          \
    do {                                                                           \
        if (!(condition)) {                                                        \
            printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);       \
            return false;                                                          \
        }                                                                          \
    } while (0)

static int tests = 0;

// Runs a test; its name is its function's, with spaces.
#define TEST(function) tell(#function, function())

static void tell(const char *function, bool passed)
{
    printf("%s %d - ", passed ? "ok" : "not ok", ++tests);
    for (; *function; function++)
        putchar(*function == '_' ? ' ' : *function);
    putchar('\n');
    fflush(stdout);
}

static int done(void)
{
    printf("1..%d\n", tests);
    return 0;
}

// A variable that main.rs sets.
static const char *given(const char *variable)
{
    const char *value = getenv(variable);
    if (!value) {
        fprintf(stderr, "%s is not set\n", variable);
        exit(2);
    }
    return value;
}

#endif
