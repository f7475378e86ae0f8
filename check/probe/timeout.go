package probe

import (
	"context"
	"errors"
	"net"
)

// IsTimeout reports whether the target said nothing for too long, rather than
// ending the connection.
func IsTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}
