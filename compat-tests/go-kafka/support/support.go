// Package support has what the suites of all three libraries need: where the broker is, and names no other run uses.
package support

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Patience is how long anything may take on a busy machine.
const Patience = 30 * time.Second

// Broker is the address under test.
func Broker() string {
	for _, variable := range []string{"WARREN_ORACLE_KAFKA", "KAFKA"} {
		if address := os.Getenv(variable); address != "" {
			return address
		}
	}
	return "localhost:9092"
}

// Guarded is the address of a broker that wants logins, with the user guest.
func Guarded(t *testing.T) string {
	address := os.Getenv("KAFKA_GUARDED")
	if address == "" {
		t.Skip("no broker with logins given")
	}
	return address
}

// Oracle says that the broker under test is Kafka itself.
func Oracle() bool { return os.Getenv("WARREN_ORACLE_KAFKA") != "" }

// Unique makes a name no other run uses, so that the same broker can be asked twice.
func Unique(t *testing.T) string {
	return fmt.Sprintf("go-%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), time.Now().UnixNano())
}

// Must fails the test when an action did not succeed.
func Must(t *testing.T, err error, action string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
}

// Equal compares what came with what was expected.
func Equal[T comparable](t *testing.T, got, expected T, what string) {
	t.Helper()
	if got != expected {
		t.Fatalf("%s: %v instead of %v", what, got, expected)
	}
}
