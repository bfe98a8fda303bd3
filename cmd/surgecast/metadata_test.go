package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// metadataService answers as one provider does, and 404 to all else. A header
// that it wants is given as "PATH HEADER: VALUE".
func metadataService(t *testing.T, answers map[string]string, wanted map[string][2]string) string {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.Method+" "+r.URL.RequestURI()]
		if header := wanted[r.Method]; header[0] != "" && r.Header.Get(header[0]) != header[1] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(service.Close)
	return service.URL
}

func TestMetadataOfEachCloud(t *testing.T) {
	private, public := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("203.0.113.5")
	ipv6 := netip.MustParseAddr("2001:db8::5")
	ec2 := map[string]string{
		"GET /latest/meta-data/instance-id": "i-0abc", "GET /latest/meta-data/local-ipv4": "10.0.0.5", "GET /latest/meta-data/public-ipv4": "203.0.113.5\n",
		"GET /latest/meta-data/instance-type": "m5.large",
	}
	with := func(more map[string]string) map[string]string {
		for k, v := range ec2 {
			more[k] = v
		}
		return more
	}
	for name, test := range map[string]struct {
		answers map[string]string
		wanted  map[string][2]string
		want    cloud
	}{
		"EC2, version 2": {
			with(map[string]string{"PUT /latest/api/token": "token=="}),
			map[string][2]string{
				http.MethodPut: {"X-aws-ec2-metadata-token-ttl-seconds", "60"},
				http.MethodGet: {"X-aws-ec2-metadata-token", "token=="},
			},
			cloud{"ec2/i-0abc", private, public, netip.Addr{}, "m5.large"},
		},
		"EC2, version 1": {ec2, nil, cloud{"ec2/i-0abc", private, public, netip.Addr{}, ""}},
		"EC2, IPv6 beside it": {
			with(map[string]string{"GET /latest/meta-data/ipv6": "2001:db8::5"}), nil,
			cloud{"ec2/i-0abc", private, public, ipv6, ""},
		},
		"EC2, IPv6 alone": {
			map[string]string{"GET /latest/meta-data/instance-id": "i-0abc", "GET /latest/meta-data/ipv6": "2001:db8::5"},
			nil,
			cloud{"ec2/i-0abc", netip.Addr{}, netip.Addr{}, ipv6, ""},
		},
		"OpenStack": {
			with(map[string]string{"GET /openstack/latest/meta_data.json": `{"uuid":"9f1c-77","name":"relay"}`}), nil,
			cloud{"openstack/9f1c-77", private, public, netip.Addr{}, ""},
		},
		"GCP": {
			map[string]string{
				"GET /computeMetadata/v1/instance/id":                                                "4520031799277581759",
				"GET /computeMetadata/v1/instance/network-interfaces/0/ip":                           "10.0.0.5",
				"GET /computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip": "203.0.113.5",
				"GET /computeMetadata/v1/instance/machine-type":                                      "projects/7/machineTypes/e2-medium",
			},
			map[string][2]string{http.MethodGet: {"Metadata-Flavor", "Google"}},
			cloud{"gcp/4520031799277581759", private, public, netip.Addr{}, "e2-medium"},
		},
		"GCP, IPv6 alone": {
			map[string]string{
				"GET /computeMetadata/v1/instance/id":                         "4520031799277581759",
				"GET /computeMetadata/v1/instance/network-interfaces/0/ipv6s": "2001:db8::5\n",
			},
			nil,
			cloud{"gcp/4520031799277581759", netip.Addr{}, netip.Addr{}, ipv6, ""},
		},
		"GCP, IPv6 within the network": {
			map[string]string{
				"GET /computeMetadata/v1/instance/id":                         "4520031799277581759",
				"GET /computeMetadata/v1/instance/network-interfaces/0/ipv6s": "fd20:1:2::5\n",
			},
			nil,
			cloud{"gcp/4520031799277581759", netip.Addr{}, netip.Addr{}, netip.Addr{}, ""},
		},
		"Azure": {
			map[string]string{"GET /metadata/instance?api-version=2021-02-01": `{"compute":{"vmId":"13f56399-bd52","vmSize":"Standard_D2s_v3"},"network":{"interface":[{"ipv4":{"ipAddress":[
				{"privateIpAddress":"10.0.0.5","publicIpAddress":"203.0.113.5"}]}}]}}`},
			map[string][2]string{http.MethodGet: {"Metadata", "true"}},
			cloud{"azure/13f56399-bd52", private, public, netip.Addr{}, "Standard_D2s_v3"},
		},
		"Hetzner": {
			map[string]string{"GET /hetzner/v1/metadata/instance-id": "42", "GET /hetzner/v1/metadata/public-ipv4": "203.0.113.5"},
			nil,
			cloud{"hetzner/42", netip.Addr{}, public, netip.Addr{}, ""},
		},
		"DigitalOcean": {
			map[string]string{"GET /metadata/v1.json": `{"droplet_id":2756294,"interfaces":{
				"private":[{"ipv4":{"ip_address":"10.0.0.5"}}],"public":[{"ipv4":{"ip_address":"203.0.113.5"}}]}}`},
			nil,
			cloud{"digitalocean/2756294", private, public, netip.Addr{}, ""},
		},
		"a page for all that is asked": {map[string]string{"GET /latest/meta-data/instance-id": "<html>please log in</html>"}, nil, cloud{}},
		"no cloud":                     {nil, nil, cloud{}},
	} {
		t.Run(name, func(t *testing.T) {
			base := metadataService(t, test.answers, test.wanted)
			if got := askMetadata(t.Context(), base, realEnvironment().client()).Wait(); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// A machine that has IPv6 alone hears nothing at the usual address, and asks at
// those that two clouds have there; a base of the configuration is the only one.
func TestMetadataByIPv6(t *testing.T) {
	var at []string
	for _, w := range waysTo(metadataBase) {
		at = append(at, w.name+" "+w.at)
	}
	for _, want := range []string{"gcp " + metadataBaseGCP, "ec2 " + metadataBaseEC2, "gcp " + metadataBase, "ec2 " + metadataBase, "azure " + metadataBase} {
		if !slices.Contains(at, want) {
			t.Errorf("%s is not asked", want)
		}
	}
	if got := waysTo("http://127.0.0.1:80"); len(got) != len(providers) || len(at) != len(providers)+2 {
		t.Errorf("%d ways to another base, %d to the usual ones", len(got), len(at))
	}

	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	answers := map[string]string{"/latest/meta-data/instance-id": "i-0abc", "/latest/meta-data/ipv6": "2001:db8::5"}
	service := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers[r.URL.Path] == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answers[r.URL.Path]))
	})}}
	service.Start()
	t.Cleanup(service.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close() // nobody is at the usual address
	ways := waysTo(metadataBase)
	for i, w := range ways {
		if ways[i].at = closed.URL; w.at == metadataBaseEC2 {
			ways[i].at = service.URL
		}
	}
	want := cloud{Instance: "ec2/i-0abc", IPv6: netip.MustParseAddr("2001:db8::5")}
	if got := askProviders(t.Context(), ways, realEnvironment().client()).Wait(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Nothing that does not answer, or not to the end, costs more than the bound.
func TestMetadataIsBounded(t *testing.T) {
	stuck := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("i-"))
		_ = http.NewResponseController(w).Flush()
		<-stuck
	}))
	t.Cleanup(func() { close(stuck); service.Close() })
	start := time.Now()
	got := askMetadata(t.Context(), service.URL, realEnvironment().client()).Wait()
	if took := time.Since(start); got != (cloud{}) || took > metadataBound+500*time.Millisecond {
		t.Errorf("got %+v after %v", got, took)
	}
}

func TestMetadataIsNotAskedInVain(t *testing.T) {
	loopback, near := netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("10.0.0.5")
	env := environment{Dial: nil} // a question would end the test
	for name, test := range map[string]struct {
		flag   netip.Addr
		config NodeConfig
	}{
		"off":                 {near, NodeConfig{}},
		"a flag's loopback":   {loopback, NodeConfig{Metadata: metadataBase}},
		"a config's loopback": {netip.Addr{}, NodeConfig{Metadata: metadataBase, Address: Address{loopback}}},
	} {
		if q := env.askCloud(t.Context(), test.flag, &test.config); q != nil {
			t.Errorf("%s: it is asked", name)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"uuid":"9f1c"}`))
	f.Add([]byte(`{"droplet_id":2756294,"interfaces":{"public":[{"ipv4":{"ip_address":"203.0.113.5"}}]}}`))
	f.Add([]byte(`{"compute":{"vmId":"13f5"},"network":{"interface":[{"ipv4":{"ipAddress":[{"privateIpAddress":"10.0.0.5"}]}}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, c := range []cloud{parseAzure(text), parseDigitalOcean(text), parseOpenStack(text)} {
			if instanceID(c.Instance) != c.Instance || instanceID(c.Type) != c.Type {
				t.Errorf("took the id %q, the type %q", c.Instance, c.Type)
			}
			for _, a := range []netip.Addr{c.Private, c.Public} {
				if a.IsValid() && !a.IsGlobalUnicast() {
					t.Errorf("took the address %v", a)
				}
			}
			if _, err := json.Marshal(memory{machine: machine{Instance: c.Instance}}); err != nil {
				t.Error(err)
			}
		}
	})
}
