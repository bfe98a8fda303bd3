package origin

import (
	"crypto/rand"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
)

// publishUser is the user name of all publishers; the key is the password.
const publishUser = "publish"

// credentials says whether a request brings credentials at all. Clients first
// ask without, to be told how.
func credentials(request *base.Request) (headers.Authorization, bool) {
	var a headers.Authorization
	err := a.Unmarshal(request.Header["Authorization"])
	return a, err == nil && a.Username != ""
}

// challenge makes the nonce that the 401 answer to a request without
// credentials needs.
func challenge(conn *gortsplib.ServerConn, request *base.Request) {
	conn.VerifyCredentials(request, publishUser, rand.Text())
}

// requestProof is that of a request's credentials. gortsplib compares Basic
// passwords in a time that depends on the key, so that is not left to it; the
// response of Digest is different in each connection.
func requestProof(conn *gortsplib.ServerConn, request *base.Request) proof {
	if a, ok := credentials(request); ok && a.Method == headers.AuthMethodBasic {
		user := equalSecret(a.Username, publishUser)
		key := plainKey(a.BasicPass)
		return func(want string) bool { return key(want) && user }
	}
	return func(want string) bool { return conn.VerifyCredentials(request, publishUser, want) }
}
