package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"path"
)

// provider is one cloud's way of telling a machine who it is.
type provider struct {
	name string
	ipv6 string                                            // the base of its service by IPv6; "": there is none
	ask  func(ctx context.Context, m metadataClient) cloud // empty: it is not this cloud
}

// providers, those first whose paths nobody else serves: many clouds imitate
// EC2's beside their own.
var providers = []provider{
	{"gcp", metadataBaseGCP, askGCP},
	{"azure", "", askAzure},
	{"hetzner", "", askHetzner},
	{"digitalocean", "", askDigitalOcean},
	{"openstack", "", askOpenStack},
	{"ec2", metadataBaseEC2, askEC2},
}

func askGCP(ctx context.Context, m metadataClient) cloud {
	get := func(what string) string {
		text, _ := m.get(ctx, "/computeMetadata/v1/instance/"+what, "Metadata-Flavor", "Google")
		return text
	}
	c := cloud{Instance: instanceID(get("id"))}
	if c.Instance != "" {
		c.Private = metadataAddr(get("network-interfaces/0/ip"))
		c.Public = metadataAddr(get("network-interfaces/0/access-configs/0/external-ip"))
		c.IPv6 = publicIPv6(get("network-interfaces/0/ipv6s")) // one a line; internal ones are unique local
		if kind := get("machine-type"); kind != "" {
			c.Type = instanceID(path.Base(kind)) // projects/NUMBER/machineTypes/TYPE
		}
	}
	return c
}

func askAzure(ctx context.Context, m metadataClient) cloud {
	text, err := m.get(ctx, "/metadata/instance?api-version=2021-02-01", "Metadata", "true")
	if err != nil {
		return cloud{}
	}
	return parseAzure([]byte(text))
}

func parseAzure(text []byte) (c cloud) {
	var answer struct {
		Compute struct {
			VMID   string `json:"vmId"`
			VMSize string `json:"vmSize"`
		} `json:"compute"`
		Network struct {
			Interface []struct {
				IPv4 struct {
					Address []struct {
						Private string `json:"privateIpAddress"`
						Public  string `json:"publicIpAddress"`
					} `json:"ipAddress"`
				} `json:"ipv4"`
			} `json:"interface"`
		} `json:"network"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return cloud{}
	}
	if c.Instance = instanceID(answer.Compute.VMID); c.Instance != "" {
		c.Type = instanceID(answer.Compute.VMSize)
	}
	if i := answer.Network.Interface; len(i) > 0 && len(i[0].IPv4.Address) > 0 {
		c.Private = metadataAddr(i[0].IPv4.Address[0].Private)
		c.Public = metadataAddr(i[0].IPv4.Address[0].Public)
	}
	return c
}

func askHetzner(ctx context.Context, m metadataClient) cloud {
	id, _ := m.get(ctx, "/hetzner/v1/metadata/instance-id")
	c := cloud{Instance: instanceID(id)}
	if c.Instance != "" {
		public, _ := m.get(ctx, "/hetzner/v1/metadata/public-ipv4")
		c.Public = metadataAddr(public)
	}
	return c
}

func askDigitalOcean(ctx context.Context, m metadataClient) cloud {
	text, err := m.get(ctx, "/metadata/v1.json")
	if err != nil {
		return cloud{}
	}
	return parseDigitalOcean([]byte(text))
}

func parseDigitalOcean(text []byte) (c cloud) {
	type side []struct {
		IPv4 struct {
			Address string `json:"ip_address"`
		} `json:"ipv4"`
	}
	var answer struct {
		ID         json.Number `json:"droplet_id"`
		Interfaces struct {
			Public  side `json:"public"`
			Private side `json:"private"`
		} `json:"interfaces"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return cloud{}
	}
	c.Instance = instanceID(answer.ID.String())
	if s := answer.Interfaces.Private; len(s) > 0 {
		c.Private = metadataAddr(s[0].IPv4.Address)
	}
	if s := answer.Interfaces.Public; len(s) > 0 {
		c.Public = metadataAddr(s[0].IPv4.Address)
	}
	return c
}

func askOpenStack(ctx context.Context, m metadataClient) cloud {
	text, err := m.get(ctx, "/openstack/latest/meta_data.json")
	if err != nil {
		return cloud{}
	}
	c := parseOpenStack([]byte(text))
	if c.Instance != "" {
		c.Private, c.Public = ec2Addresses(ctx, m)
	}
	return c
}

func parseOpenStack(text []byte) cloud {
	var answer struct {
		UUID string `json:"uuid"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return cloud{}
	}
	return cloud{Instance: instanceID(answer.UUID)}
}

func askEC2(ctx context.Context, m metadataClient) cloud {
	headers := ec2Token(ctx, m)
	id, _ := m.get(ctx, "/latest/meta-data/instance-id", headers...)
	c := cloud{Instance: instanceID(id)}
	if c.Instance != "" {
		c.Private, c.Public = ec2Addresses(ctx, m, headers...)
		first, _ := m.get(ctx, "/latest/meta-data/ipv6", headers...)
		c.IPv6 = publicIPv6(first)
		c.Type = ec2Type(ctx, m, headers)
	}
	return c
}

// ec2Token is the header of version 2 of the service; where there is none, as
// with those who imitate version 1, nothing.
func ec2Token(ctx context.Context, m metadataClient) []string {
	token, err := m.do(ctx, http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil || token == "" {
		return nil
	}
	return []string{"X-aws-ec2-metadata-token", token}
}

// ec2Type is told by version 2 only: those who imitate version 1 may have sizes
// of the same names.
func ec2Type(ctx context.Context, m metadataClient, headers []string) string {
	if len(headers) == 0 {
		return ""
	}
	kind, _ := m.get(ctx, "/latest/meta-data/instance-type", headers...)
	return instanceID(kind)
}

func ec2Addresses(ctx context.Context, m metadataClient, headers ...string) (private, public netip.Addr) {
	local, _ := m.get(ctx, "/latest/meta-data/local-ipv4", headers...)
	outer, _ := m.get(ctx, "/latest/meta-data/public-ipv4", headers...)
	return metadataAddr(local), metadataAddr(outer)
}
