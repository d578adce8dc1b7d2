package coordinator

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Retries begin after retryFirst, which doubles up to retryMost; of that half is
// chance, so that towns do not come back all at once. A Retry-After is obeyed up to
// obeyMost.
const (
	retryFirst = time.Second
	retryMost  = 5 * time.Minute
	retrySlow  = 30 * time.Second // at least, when our credential is refused: nothing but a new one helps
	obeyMost   = time.Hour
)

// refusalsMost is how often in a row these may be answered before they count as
// final; before, they may pass: the coordinator is on its way up, or a person can help.
var refusalsMost = map[int]int{
	http.StatusForbidden: 100, // about eight hours
	http.StatusNotFound:  8,
	http.StatusGone:      8,
	http.StatusConflict:  10,
}

// backoff is how long to wait after so many failures in a row, one at least.
func backoff(failures int) time.Duration {
	d := retryMost
	if failures < 10 {
		d = min(retryFirst<<(failures-1), retryMost)
	}
	return d/2 + rand.N(d/2+1)
}

// verdict is what an answer means for the report that it answers.
type verdict int

const (
	delivered verdict = iota
	later             // to be sent again
	refused           // for good
)

// judge says what a status means for a report that was refused so often in a row,
// this answer included.
func judge(status, refusals int) verdict {
	switch most, final := refusalsMost[status]; {
	case status >= 200 && status < 300:
		return delivered
	case final && refusals < most:
		return later
	case final:
		return refused
	case status == http.StatusUnauthorized, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return later
	case status >= 400 && status < 500:
		return refused
	}
	return later
}

// mayBeFinal reports whether a status is final when it is answered often.
func mayBeFinal(status int) bool { return refusalsMost[status] > 0 }

// retryAfter reads the header of that name, 0 for none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	var d time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		// By the coordinator's own clock where it tells it: ours may be wrong.
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		d = at.Sub(now)
	}
	return min(max(d, 0), obeyMost)
}
