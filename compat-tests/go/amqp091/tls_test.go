package library

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// secured starts a broker of the test's own that listens for TLS; gives its process, its address and whom to trust.
func secured(t *testing.T, options ...string) (*exec.Cmd, string, *tls.Config) {
	t.Helper()
	certs := filepath.Join(t.TempDir(), "certs")
	arguments := []string{"serve", "--ephemeral", "--print-ready", "--dev-tls", certs, "--amqp", "off", "--kafka", "off",
		"--redis", "off", "--zmq", "off", "--admin", "off", "--metrics", "off", "--set", "amqp.tls_address=127.0.0.1:0"}
	for _, door := range []string{"kafka", "redis", "admin", "metrics"} {
		arguments = append(arguments, "--set", door+".tls_address=off")
	}
	broker := exec.Command(os.Getenv("WARREN_BIN"), append(arguments, options...)...)
	out, err := broker.StdoutPipe()
	failOnError(t, err, "Failed to make a pipe")
	failOnError(t, broker.Start(), "Failed to start a broker")
	t.Cleanup(func() { _ = broker.Process.Kill(); _ = broker.Wait() })
	ready := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "{") {
			failOnError(t, json.Unmarshal(lines.Bytes(), &ready), "Failed to read the ready line")
			break
		}
	}
	// What is printed after it is of no interest, but must not block the broker.
	go func() { _, _ = io.Copy(io.Discard, out) }()
	pem, err := os.ReadFile(filepath.Join(certs, "ca.pem"))
	failOnError(t, err, "Failed to read the authority")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := tls.LoadX509KeyPair(filepath.Join(certs, "client.pem"), filepath.Join(certs, "client.key"))
	failOnError(t, err, "Failed to read the client's certificate")
	return broker, ready["amqp.tls"], &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{client}}
}

func TestTLS(t *testing.T) {
	broker, address, config := secured(t, "--set", "tls.client_auth=required")
	conn, err := amqp.DialTLS("amqps://guest:guest@"+address+"/", config)
	failOnError(t, err, "Failed to connect")
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch, err := conn.Channel()
	failOnError(t, err, "Failed to open a channel")
	queue := declare(t, ch, unique(t), nil)
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	const messages = 1_000
	body := strings.Repeat("x", 10_000)
	for range messages {
		send(t, ch, queue, text(body))
	}
	for range messages {
		if got := await(t, "a delivery", deliveries); string(got.Body) != body {
			t.Fatalf("%d octets", len(got.Body))
		}
	}
	// A broker that goes down says goodbye by TLS, too.
	failOnError(t, broker.Process.Signal(os.Interrupt), "Failed to stop the broker")
	if fault := await(t, "the goodbye", closed); fault == nil || fault.Code != amqp.ConnectionForced {
		t.Fatalf("closed with %v", fault)
	}
}

func TestTLSWithoutTheCertificateThatIsRequired(t *testing.T) {
	_, address, config := secured(t, "--set", "tls.client_auth=required")
	config.Certificates = nil
	if conn, err := amqp.DialTLS("amqps://guest:guest@"+address+"/", config); err == nil {
		t.Fatalf("connected: %v", conn)
	}
}
