package main

import (
	"net/http"
	"net/netip"
	"testing"
	"testing/fstest"
)

func TestCloudSpeed(t *testing.T) {
	for c, want := range map[cloud]BitRate{
		{Instance: "ec2/i-0abc", Type: "t3.micro"}:           64e6,
		{Instance: "ec2/i-0abc", Type: "m5.large"}:           750e6, // and not the 10 Gbit/s of its burst
		{Instance: "ec2/i-0abc", Type: "c5n.4xlarge"}:        5e9,   // more stays inside the cloud
		{Instance: "ec2/i-0abc", Type: "c6gn.medium"}:        1600e6,
		{Instance: "ec2/i-0abc", Type: "m8i.large"}:          937e6,
		{Instance: "ec2/i-0abc", Type: "m5.24xlarge"}:        0,
		{Instance: "ec2/i-0abc", Type: "m99.large"}:          0,
		{Instance: "ec2/i-0abc", Type: "m5"}:                 0,
		{Instance: "ec2/i-0abc"}:                             0,
		{Instance: "openstack/9f1c", Type: "m5.large"}:       0, // a flavor of that name
		{Instance: "gcp/45", Type: "e2-medium"}:              2e9,
		{Instance: "gcp/45", Type: "n2-standard-8"}:          7e9,
		{Instance: "gcp/45", Type: "m5.large"}:               0,
		{Instance: "azure/13f5", Type: "Standard_D2s_v3"}:    1e9,
		{Instance: "azure/13f5", Type: "Standard_D16s_v3"}:   2e9,
		{Instance: "azure/13f5", Type: "Standard_M416ms_v2"}: 0,
		{}: 0,
	} {
		if got := cloudSpeed(c); got != want {
			t.Errorf("%+v: %d, want %d", c, got, want)
		}
	}
}

// What is configured outranks what the cloud sells, that the card, and that what
// was carried.
func TestCapacityFromACloud(t *testing.T) {
	large := cloud{Instance: "ec2/i-0abc", Type: "m5.large"}
	odd := cloud{Instance: "ec2/i-0abc", Type: "x99.huge"}
	address, card := netip.MustParseAddr("192.0.2.1"), fstest.MapFS{}
	if here, name := anAddress(t); name != "" {
		address = here
		card = fstest.MapFS{name + "/speed": {Data: []byte("50000\n")}, name + "/device/vendor": {}}
	}
	byCard, from := speedTowards(card, address), "card"
	if byCard == 0 {
		from = "carried"
	}
	for _, test := range []struct {
		name       string
		configured BitRate
		told       cloud
		want       BitRate
		from       string
	}{
		{"configured", 2e9, large, 2e9, "config"},
		{"the cloud's", 0, large, 750e6, "m5.large"},
		{"a type of which nothing is known", 0, odd, byCard, from},
		{"no cloud", 0, cloud{}, byCard, from},
	} {
		c, err := newCapacity(test.configured, test.told, card, address, t.TempDir())
		if err != nil || c.known != test.want || c.Told(0) != test.want || c.From() != test.from {
			t.Errorf("%s: %d from %s, %v", test.name, c.known, c.From(), err)
		}
	}
}

// anAddress is one of this machine that is no loopback, and its interface; "":
// it has none.
func anAddress(t *testing.T) (netip.Addr, string) {
	links, err := machineLinks()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		for _, p := range l.Prefixes {
			if p.Addr().IsGlobalUnicast() {
				return p.Addr(), interfaceOf(p.Addr())
			}
		}
	}
	return netip.Addr{}, ""
}

// TestCapacityByMetadata goes from the service to what a node knows.
func TestCapacityByMetadata(t *testing.T) {
	base := metadataService(t, map[string]string{
		"PUT /latest/api/token":               "token==",
		"GET /latest/meta-data/instance-id":   "i-0abc",
		"GET /latest/meta-data/instance-type": "m5.large\n",
	}, map[string][2]string{http.MethodGet: {"X-aws-ec2-metadata-token", "token=="}})
	told := askMetadata(t.Context(), base, realEnvironment().client())
	h, err := newHeadroom(&NodeConfig{}, nodeOptions{Address: netip.MustParseAddr("192.0.2.1"), Cloud: told}, t.TempDir(), nil)
	if err != nil || h.known != 750e6 || h.From() != "m5.large" {
		t.Errorf("%d from %q, %v", h.known, h.From(), err)
	}
}
