// Package redis runs go-redis against the broker: a task queue, a stream's group, channels, a transaction, a lock.
package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func connect(t *testing.T) (context.Context, *redis.Client) {
	t.Helper()
	address := os.Getenv("REDIS")
	if address == "" {
		t.Skip("no Redis given")
	}
	client := redis.NewClient(&redis.Options{Addr: address, ClientName: "go"})
	context, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(func() { cancel(); client.Close() })
	return context, client
}

func must[T any](t *testing.T) func(value T, err error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestAWorkerTakesTasksAndIsDoneWithThem(t *testing.T) {
	ctx, client := connect(t)
	queue, atWork := t.Name(), t.Name()+":at-work"
	client.Del(ctx, queue, atWork)
	var group sync.WaitGroup
	results := make(chan string, 100)
	for range 3 {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				task, err := client.BLMove(ctx, queue, atWork, "RIGHT", "LEFT", time.Second).Result()
				if errors.Is(err, redis.Nil) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				results <- task
				if n, err := client.LRem(ctx, atWork, 1, task).Result(); n != 1 || err != nil {
					t.Error(n, err)
				}
			}
		}()
	}
	pipe := client.Pipeline()
	for n := range 100 {
		pipe.LPush(ctx, queue, fmt.Sprint(n))
	}
	must[[]redis.Cmder](t)(pipe.Exec(ctx))
	group.Wait()
	close(results)
	seen := map[string]bool{}
	for task := range results {
		seen[task] = true
	}
	if len(seen) != 100 || must[int64](t)(client.Exists(ctx, queue, atWork).Result()) != 0 {
		t.Fatal(len(seen))
	}
}

func TestAGroupReadsAStream(t *testing.T) {
	ctx, client := connect(t)
	stream := t.Name()
	client.Del(ctx, stream)
	must[string](t)(client.XGroupCreateMkStream(ctx, stream, "workers", "$").Result())
	for n := range 10 {
		must[string](t)(client.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: map[string]any{"n": n}}).Result())
	}
	read := must[[]redis.XStream](t)(client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: "workers", Consumer: "alice", Streams: []string{stream, ">"}, Count: 7,
	}).Result())
	if len(read[0].Messages) != 7 || read[0].Messages[3].Values["n"] != "3" {
		t.Fatal(read)
	}
	must[int64](t)(client.XAck(ctx, stream, "workers", read[0].Messages[0].ID).Result())
	pending := must[*redis.XPending](t)(client.XPending(ctx, stream, "workers").Result())
	if pending.Count != 6 || pending.Consumers["alice"] != 6 {
		t.Fatal(pending)
	}
	claimed, _, err := client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
		Stream: stream, Group: "workers", Consumer: "bob", Start: "0", Count: 100,
	}).Result()
	if err != nil || len(claimed) != 6 {
		t.Fatal(claimed, err)
	}
	info := must[[]redis.XInfoGroup](t)(client.XInfoGroups(ctx, stream).Result())
	if info[0].Pending != 6 || info[0].Lag != 3 || info[0].EntriesRead != 7 {
		t.Fatal(info)
	}
}

func TestChannels(t *testing.T) {
	ctx, client := connect(t)
	listener := client.PSubscribe(ctx, "go:*")
	defer listener.Close()
	must[any](t)(listener.Receive(ctx))
	if heard := must[int64](t)(client.Publish(ctx, "go:news", "hello").Result()); heard != 1 {
		t.Fatal(heard)
	}
	message := must[*redis.Message](t)(listener.ReceiveMessage(ctx))
	if message.Channel != "go:news" || message.Pattern != "go:*" || message.Payload != "hello" {
		t.Fatal(message)
	}
}

func TestOptimisticTransactionsCountEveryIncrement(t *testing.T) {
	ctx, client := connect(t)
	key := t.Name()
	client.Del(ctx, key)
	increment := func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, key).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			return pipe.Set(ctx, key, n+1, 0).Err()
		})
		return err
	}
	var group sync.WaitGroup
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for done := 0; done < 25; {
				switch err := client.Watch(ctx, increment, key); {
				case err == nil:
					done++
				case !errors.Is(err, redis.TxFailedErr):
					t.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
	if n := must[int](t)(client.Get(ctx, key).Int()); n != 100 {
		t.Fatal(n)
	}
}

func TestWhatTheLibraryAsksOfTheServer(t *testing.T) {
	ctx, client := connect(t)
	commands := must[map[string]*redis.CommandInfo](t)(client.Command(ctx).Result())
	if info := commands["lpush"]; info == nil || info.Arity != -3 || info.FirstKeyPos != 1 {
		t.Fatal(info)
	}
	settings := must[map[string]string](t)(client.ConfigGet(ctx, "maxmemory-policy").Result())
	if settings["maxmemory-policy"] != "noeviction" {
		t.Fatal(settings)
	}
	if name := must[string](t)(client.ClientGetName(ctx).Result()); name != "go" {
		t.Fatal(name)
	}
	err := client.Do(ctx, "nothing", "x").Err()
	if err == nil || err.Error() != "ERR unknown command 'nothing', with args beginning with: 'x' " {
		t.Fatal(err)
	}
}
