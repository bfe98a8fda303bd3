package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAPIWantsItsToken(t *testing.T) {
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	handler := newAPI(apiConfig{
		Token:   "secret-token",
		Status:  func(context.Context) *poolStatus { return samplePool() },
		Metrics: nothing,
	})
	for _, test := range []struct {
		path, authorization string
		want                int
	}{
		{"/status", "", 401},
		{"/metrics", "", 401},
		{"/debug/pprof/", "", 401},
		{"/", "", 401},
		{"/status", "Bearer secret-toke", 401},
		{"/status", "secret-token", 401},
		{"/status", "Bearer secret-token", 200},
		{"/metrics", "Bearer secret-token", 200},
		{"/debug/pprof/goroutine", "Bearer secret-token", 200},
		{"/", "Bearer secret-token", 404},
	} {
		request := httptest.NewRequest(http.MethodGet, test.path, nil)
		if test.authorization != "" {
			request.Header.Set("Authorization", test.authorization)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != test.want {
			t.Errorf("%s with %q: %d, want %d", test.path, test.authorization, answer.Code, test.want)
		}
	}
}
