package container

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"townd/town"
)

func TestTicketExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store ticketStore
		value, expires, err := store.mint(ticket{agent: "toast", mode: town.TicketRead})
		if err != nil || len(value) != 43 || !expires.Equal(time.Now().Add(60*time.Second)) {
			t.Fatalf("mint() = %q, %v, %v; want 256 bits for a minute", value, expires, err)
		}
		time.Sleep(60*time.Second - 1)
		if k, err := store.look(value); err != nil || k.agent != "toast" || k.mode != town.TicketRead {
			t.Errorf("just before its end look() = %+v, %v", k, err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := store.look(value); !errors.Is(err, town.ErrUnauthorized) {
			t.Errorf("at its end look() = %v, want ErrUnauthorized", err)
		}
		if err := store.spend(value); !errors.Is(err, town.ErrUnauthorized) {
			t.Errorf("at its end spend() = %v, want ErrUnauthorized", err)
		}
	})
}

func TestTicketIsSpentOnce(t *testing.T) {
	var store ticketStore
	value, _, err := store.mint(ticket{agent: "toast", mode: town.TicketRead})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.spend(value); err != nil {
		t.Errorf("spend() = %v", err)
	}
	if err := store.spend(value); !errors.Is(err, town.ErrUnauthorized) {
		t.Errorf("second spend() = %v, want ErrUnauthorized", err)
	}
}

// A thousand tickets may live; the next is refused until one of them is past,
// and takes nobody's away.
func TestTicketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store ticketStore
		first, _, err := store.mint(ticket{agent: "toast", mode: town.TicketRead})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		for range ticketLimit - 1 {
			if _, _, err := store.mint(ticket{agent: "toast", mode: town.TicketRead}); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = store.mint(ticket{agent: "toast", mode: town.TicketRead})
		capacity, ok := errors.AsType[*town.CapacityError](err)
		if !ok || capacity.RetryAfter != 40*time.Second {
			t.Errorf("mint() beyond the limit = %v, want a CapacityError of 40 s", err)
		}
		if _, err := store.look(first); err != nil {
			t.Errorf("the oldest ticket is gone: %v", err)
		}
		time.Sleep(40 * time.Second)
		if _, _, err := store.mint(ticket{agent: "toast", mode: town.TicketRead}); err != nil {
			t.Errorf("mint() after one has expired = %v", err)
		}
	})
}

func TestTicketsAreKeptAsHashes(t *testing.T) {
	var store ticketStore
	value, _, err := store.mint(ticket{agent: "toast", mode: town.TicketRead})
	if err != nil {
		t.Fatal(err)
	}
	for sum := range store.live {
		if string(sum[:]) == value || len(value) == len(sum) {
			t.Errorf("the store holds %q itself", value)
		}
	}
}
