{{/* What the schema cannot express: values that depend on each other. All problems are reported at once, each with its fix. */}}

{{- define "aries-bridge.checks" -}}
{{- $problems := list -}}
{{- range $about := list "image" "symbols" "aries" "kafka" "tls" "topics" "registry" "shards" "standby" "resources" "secrets" "objects" -}}
{{- $problems = append $problems (include (printf "aries-bridge.check.%s" $about) $ | trim) -}}
{{- end -}}
{{- $problems = without $problems "" -}}
{{- if $problems -}}
{{- fail (printf "invalid values:\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}

{{/* "true" if one of the named settings comes from elsewhere; the contents of `extraEnvFrom` are not known. */}}
{{- define "aries-bridge.elsewhere" -}}
{{- $found := .root.Values.extraEnvFrom | empty | not -}}
{{- range .root.Values.extraEnv -}}
{{- if has .name $.names -}}{{- $found = true -}}{{- end -}}
{{- end -}}
{{- ternary "true" "" $found -}}
{{- end -}}

{{- define "aries-bridge.check.image" -}}
{{- if not .Values.image.repository }}
- image.repository is not set: set it to the image's repository, like registry.example.com/aries-bridge.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.symbols" -}}
{{- $a := .Values.aries -}}
{{- $elsewhere := include "aries-bridge.elsewhere" (dict "root" . "names" (list "ARIES_SYMBOLS" "ARIES_SUBSCRIPTIONS" "ARIES_SUBSCRIPTIONS_FILE")) -}}
{{- if not (or $a.symbols $a.subscriptions $elsewhere) }}
- aries.symbols is empty: list what to subscribe to, like [AAPL, MSFT, SPX], or fill aries.subscriptions.
{{- end }}
{{- $seen := dict -}}
{{- range $index, $symbol := $a.symbols }}
{{- if not (kindIs "string" $symbol) }}
- aries.symbols[{{ $index }}] is not a string, but {{ toJson $symbol }} in YAML: quote it, like "ON" or "1E5".
{{- else if not (regexMatch "^[A-Za-z0-9.\\-_/^$=&!@+~%]{1,64}(:(equity|option|index))?$" $symbol) }}
- aries.symbols[{{ $index }}] is {{ toJson $symbol }}, which is not a valid symbol: use letters, digits and .-_/^$=&!@+~% only, at most 64 characters, optionally followed by :equity, :option or :index.
{{- else }}
{{- $name := splitList ":" $symbol | first -}}
{{- if and (hasKey $seen $name) (ne (get $seen $name) $symbol) }}
- aries.symbols[{{ $index }}] is {{ $symbol }}, but the list also has {{ get $seen $name }}: list it once.
{{- end }}
{{- $_ := set $seen $name $symbol -}}
{{- end }}
{{- end }}
{{- $described := dict -}}
{{- range $index, $entry := $a.subscriptions }}
{{- $name := kindIs "map" $entry | ternary $entry (dict "symbol" (toString $entry)) -}}
{{- $symbol := $name.symbol -}}
{{- if hasKey $name "underlying" }}
{{- if not (kindIs "string" $name.underlying) }}
- aries.subscriptions[{{ $index }}].underlying is not a string, but {{ toJson $name.underlying }} in YAML: quote it, like "ON" or "1E5".
{{- end }}
{{- else if not (kindIs "string" $symbol) }}
- aries.subscriptions[{{ $index }}].symbol is not a string, but {{ toJson $symbol }} in YAML: quote it, like "ON" or "1E5".
{{- else if hasKey $described $symbol }}
- aries.subscriptions[{{ $index }}] is for {{ $symbol }}, which has another entry: list it once.
{{- else }}
{{- $_ := set $described $symbol true -}}
{{- end }}
{{- end }}
{{- /* Linux takes no variable above 128 KiB, Kubernetes no ConfigMap above 1 MiB. */}}
{{- $longest := max (len (join "," $a.symbols)) (len (toJson $a.subscriptions)) -}}
{{- if and (gt $longest 120000) (not .Values.subscriptions.hotReload) }}
- aries.symbols and aries.subscriptions are too long for the environment ({{ $longest }} bytes, 120000 at most each): set subscriptions.hotReload to true, which mounts them as a file.
{{- end }}
{{- if and .Values.subscriptions.hotReload (gt (len (include "aries-bridge.subscriptions" .)) 1000000) }}
- aries.symbols and aries.subscriptions are too long for a ConfigMap (1000000 bytes): split them over several releases.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.aries" -}}
{{- $a := .Values.aries -}}
{{- $elsewhere := include "aries-bridge.elsewhere" (dict "root" . "names" (list "ARIES_ACCESS_TOKEN" "ARIES_ACCESS_TOKEN_FILE" "ARIES_REFRESH_TOKEN" "ARIES_REFRESH_TOKEN_FILE")) -}}
{{- $secret := include "aries-bridge.secretName" (dict "root" . "side" "aries") -}}
{{- if not (or $secret $elsewhere) }}
- aries.existingSecret is not set: name the Secret with the credentials (create one with: kubectl create secret generic aries --from-file=access-token=FILE), or fill externalSecrets.aries.
{{- end }}
{{- if and $secret (not (index $a.secretKeys $a.credentials)) }}
- aries.secretKeys.{{ $a.credentials }} is empty, but aries.credentials is {{ $a.credentials }}: name the key in the Secret.
{{- end }}
{{- if and (eq $a.credentials "refreshToken") (not $a.clientId) (not (include "aries-bridge.elsewhere" (dict "root" . "names" (list "ARIES_CLIENT_ID")))) }}
- aries.clientId is not set: it is required with a refresh token.
{{- end }}
{{- if and (eq $a.credentials "accessToken") (or $a.clientId $a.secretKeys.clientSecret) }}
- aries.clientId and aries.secretKeys.clientSecret belong to a refresh token: set aries.credentials to refreshToken, or leave them empty.
{{- end }}
{{- if and $a.ca.secret $a.ca.configMap }}
- aries.ca.secret and aries.ca.configMap are both set: keep one.
{{- end }}
{{- if gt (float64 $a.backoff.minSeconds) (float64 $a.backoff.maxSeconds) }}
- aries.backoff.minSeconds ({{ $a.backoff.minSeconds }}) exceeds aries.backoff.maxSeconds ({{ $a.backoff.maxSeconds }}): swap them.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.kafka" -}}
{{- $k := .Values.kafka -}}
{{- $s := $k.security -}}
{{- $mechanism := $s.sasl.mechanism -}}
{{- $requested := or $s.oauth.tokenUrl $s.oauth.clientId $s.oauth.scope $s.oauth.assertionAudience -}}
{{- $oauth := or $requested $s.oauth.tokenAudience $s.oauth.extensions -}}
{{- $secret := include "aries-bridge.secretName" (dict "root" . "side" "kafka") -}}
{{- if not (or $k.bootstrapServers (include "aries-bridge.elsewhere" (dict "root" . "names" (list "KAFKA_BOOTSTRAP_SERVERS")))) }}
- kafka.bootstrapServers is empty: list the bootstrap brokers, like [kafka-1:9092, kafka-2:9092].
{{- end }}
{{- if gt (int64 $k.producer.batchBytes) (int64 .Values.bridge.bufferBytes) }}
- kafka.producer.batchBytes ({{ int64 $k.producer.batchBytes }}) exceeds bridge.bufferBytes ({{ int64 .Values.bridge.bufferBytes }}): a batch must fit into the buffer.
{{- end }}
{{- if not (hasPrefix "SASL_" $s.protocol) }}
{{- if or $mechanism $s.sasl.username $secret $oauth }}
- kafka.security.protocol is {{ $s.protocol }}, but credentials are set (sasl, oauth or existingSecret): set the protocol to SASL_SSL, or leave them empty.
{{- end }}
{{- else if not $mechanism }}
- kafka.security.sasl.mechanism is not set, but the protocol is {{ $s.protocol }}: set PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM.
{{- else if eq $mechanism "AWS_MSK_IAM" }}
{{- if or $s.sasl.username $secret $oauth }}
- kafka.security.sasl.username, kafka.security.oauth and kafka.existingSecret have no effect with AWS_MSK_IAM, which uses the pod's IAM role (serviceAccount.annotations): leave them empty.
{{- end }}
{{- else if eq $mechanism "OAUTHBEARER" }}
{{- if $s.sasl.username }}
- kafka.security.sasl.username has no effect with OAUTHBEARER: leave it empty.
{{- end }}
{{- if $s.oauth.tokenAudience }}
{{- if or $requested $secret }}
- kafka.security.oauth.tokenAudience is set, and so is what requests a token (tokenUrl, clientId, scope, assertionAudience or kafka.existingSecret): keep one of the two.
{{- end }}
{{- else if not (include "aries-bridge.elsewhere" (dict "root" . "names" (list "KAFKA_OAUTH_TOKEN_FILE"))) }}
{{- if not $s.oauth.tokenUrl }}
- kafka.security.oauth.tokenUrl is not set: OAUTHBEARER needs it, or tokenAudience.
{{- end }}
{{- if and $s.oauth.assertionAudience $secret }}
- kafka.security.oauth.assertionAudience and kafka.existingSecret are both set: keep the one by which the token endpoint knows the client.
{{- else if not (or $s.oauth.assertionAudience (include "aries-bridge.elsewhere" (dict "root" . "names" (list "KAFKA_OAUTH_CLIENT_ASSERTION_FILE")))) }}
{{- if not $s.oauth.clientId }}
- kafka.security.oauth.clientId is not set: OAUTHBEARER needs it.
{{- end }}
{{- if not (or (and $secret $k.secretKeys.oauthClientSecret) (include "aries-bridge.elsewhere" (dict "root" . "names" (list "KAFKA_OAUTH_CLIENT_SECRET" "KAFKA_OAUTH_CLIENT_SECRET_FILE")))) }}
- kafka.existingSecret (with kafka.secretKeys.oauthClientSecret) is not set: name the Secret with the client secret of OAUTHBEARER, or set kafka.security.oauth.assertionAudience.
{{- end }}
{{- end }}
{{- end }}
{{- else }}
{{- if not $s.sasl.username }}
- kafka.security.sasl.username is not set: {{ $mechanism }} needs it.
{{- end }}
{{- if not (or (and $secret $k.secretKeys.password) (include "aries-bridge.elsewhere" (dict "root" . "names" (list "KAFKA_SASL_PASSWORD" "KAFKA_SASL_PASSWORD_FILE")))) }}
- kafka.existingSecret (with kafka.secretKeys.password) is not set: name the Secret with the password of {{ $s.sasl.username | default "the user" }}.
{{- end }}
{{- if $oauth }}
- kafka.security.oauth has no effect with {{ $mechanism }}: leave it empty, or set the mechanism to OAUTHBEARER.
{{- end }}
{{- end }}
{{- if and $s.sasl.awsRegion (ne $mechanism "AWS_MSK_IAM") }}
- kafka.security.sasl.awsRegion has no effect without AWS_MSK_IAM: leave it empty, or set the mechanism to that.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.tls" -}}
{{- $tls := .Values.kafka.security.tls -}}
{{- if and $tls.ca.secret $tls.ca.configMap }}
- kafka.security.tls.ca.secret and kafka.security.tls.ca.configMap are both set: keep one.
{{- end }}
{{- if and (or $tls.ca.secret $tls.ca.configMap $tls.client.secret) (not (hasSuffix "SSL" .Values.kafka.security.protocol)) }}
- kafka.security.tls names certificates, but kafka.security.protocol is {{ .Values.kafka.security.protocol }}: set it to SSL or SASL_SSL, or leave them empty.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.topics" -}}
{{- $by := dict -}}
{{- range $topic, $name := include "aries-bridge.topics" . | fromYaml }}
{{- if hasKey $by $name }}
- kafka.topics.names: {{ get $by $name }} and {{ $topic }} are both {{ $name }}: each kind of record needs its own topic.
{{- end }}
{{- if gt (len $name) 249 }}
- kafka.topics: the topic of {{ $topic }} has {{ len $name }} characters, but Kafka allows 249: shorten the prefix.
{{- end }}
{{- $_ := set $by $name $topic -}}
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.registry" -}}
{{- $r := .Values.schemaRegistry -}}
{{- $secret := include "aries-bridge.secretName" (dict "root" . "side" "schemaRegistry") -}}
{{- $ca := or $r.ca.secret $r.ca.configMap -}}
{{- $elsewhere := include "aries-bridge.elsewhere" (dict "root" . "names" (list "SCHEMA_REGISTRY_PASSWORD" "SCHEMA_REGISTRY_PASSWORD_FILE")) -}}
{{- $logins := list -}}
{{- range list (list "username" $r.username) (list "secretKeys.bearerToken" $r.secretKeys.bearerToken) (list "oauth.tokenUrl" $r.oauth.tokenUrl) }}
{{- if last . }}{{ $logins = append $logins (printf "schemaRegistry.%s" (first .)) }}{{ end -}}
{{- end -}}
{{- $cloud := or $r.confluentCloud.logicalCluster $r.confluentCloud.identityPoolId -}}
{{- if and (not $r.url) (or $logins $secret $ca $r.client.secret $r.context $cloud $r.autoRegister) }}
- schemaRegistry.url is not set, but other values of schemaRegistry are: set it, or leave them empty.
{{- end }}
{{- if and $r.username (not (or (and $secret $r.secretKeys.password) $elsewhere)) }}
- schemaRegistry.existingSecret (with schemaRegistry.secretKeys.password) is not set: name the Secret with the password of {{ $r.username }}.
{{- end }}
{{- if and $secret (not (or $logins $r.secretKeys.keyPassword)) }}
- schemaRegistry.username is not set, but a Secret with a password is: set both or none.
{{- end }}
{{- if gt (len $logins) 1 }}
- {{ join ", " $logins }} are {{ len $logins }} logins: keep one.
{{- end }}
{{- if and $r.oauth.tokenUrl (not $r.oauth.clientId) }}
- schemaRegistry.oauth.clientId is not set, but schemaRegistry.oauth.tokenUrl is: set both or none.
{{- end }}
{{- if and $r.secretKeys.bearerToken (not $secret) }}
- schemaRegistry.existingSecret is not set: name the Secret with the key {{ $r.secretKeys.bearerToken }} of schemaRegistry.secretKeys.bearerToken.
{{- end }}
{{- if and $r.oauth.tokenUrl (not (or (and $secret $r.secretKeys.oauthClientSecret) (include "aries-bridge.elsewhere" (dict "root" . "names" (list "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET" "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET_FILE"))))) }}
- schemaRegistry.existingSecret (with schemaRegistry.secretKeys.oauthClientSecret) is not set: name the Secret with the client secret of schemaRegistry.oauth.
{{- end }}
{{- if and $cloud (not (or $r.secretKeys.bearerToken $r.oauth.tokenUrl (include "aries-bridge.elsewhere" (dict "root" . "names" (list "SCHEMA_REGISTRY_BEARER_TOKEN" "SCHEMA_REGISTRY_BEARER_TOKEN_FILE"))))) }}
- schemaRegistry.confluentCloud is set, but there is no token to use for it: set schemaRegistry.oauth or schemaRegistry.secretKeys.bearerToken, or leave it empty.
{{- end }}
{{- if and $r.ca.secret $r.ca.configMap }}
- schemaRegistry.ca.secret and schemaRegistry.ca.configMap are both set: keep one.
{{- end }}
{{- if and $ca $r.url (not (contains "https://" $r.url)) }}
- schemaRegistry.ca is set, but schemaRegistry.url is http://: use https:// or leave the authorities empty.
{{- end }}
{{- if and $r.client.secret $r.url (not (contains "https://" $r.url)) }}
- schemaRegistry.client is set, but schemaRegistry.url is http://: use https:// or leave the certificate empty.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.shards" -}}
{{- if include "aries-bridge.isStatefulSet" . }}
{{- if eq .Values.strategy.type "RollingUpdate" }}
- strategy.type is RollingUpdate, but shards is {{ int .Values.shards }}: shards are StatefulSets, which stop the old pod before they start the new one. Leave strategy.type empty.
{{- end }}
{{- if .Values.bridge.instance }}
- bridge.instance is {{ .Values.bridge.instance }}, but shards is {{ int .Values.shards }}: shards need different names. Leave it empty, so that each has the name of its pod.
{{- end }}
{{- end }}
{{- end -}}

{{/* A quantity of memory in bytes, empty where it is none. */}}
{{- define "aries-bridge.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := include "aries-bridge.text" . -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?([kMGT]|[KMGT]i)?$" $text -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[A-Za-z]*$" $text)) | int64 -}}
{{- end -}}
{{- end -}}

{{- define "aries-bridge.check.resources" -}}
{{- $least := include "aries-bridge.leastGraceSeconds" . | int -}}
{{- $grace := .Values.terminationGracePeriodSeconds -}}
{{- if and (not (kindIs "invalid" $grace)) (lt (int $grace) $least) }}
- terminationGracePeriodSeconds is {{ int $grace }}, but the bridge drains for bridge.drainSeconds ({{ .Values.bridge.drainSeconds }}) and then closes: set it to {{ $least }} or more, leave it empty, or set bridge.drainSeconds lower.
{{- end }}
{{- $limit := (.Values.resources.limits | default dict).memory -}}
{{- if not (kindIs "invalid" $limit) }}
{{- $bytes := include "aries-bridge.bytes" $limit -}}
{{- $capture := .Values.bridge.capture -}}
{{- $flight := ternary (int64 $capture.flightRecorderBytes) 0 (ne $capture.dir "") -}}
{{- $wanted := add (int64 .Values.bridge.bufferBytes) (mul 150 1048576) (mul 2 $flight) -}}
{{- if not $bytes }}
- resources.limits.memory is {{ toJson $limit }}: write it like 512Mi or 1Gi.
{{- else if lt (int64 $bytes) $wanted }}
- resources.limits.memory is {{ $limit }}, but bridge.bufferBytes ({{ int64 .Values.bridge.bufferBytes }}) and the rest of the process need {{ div (add $wanted 1048575) 1048576 }}Mi: raise the limit, or lower bridge.bufferBytes.
{{- end }}
{{- end }}
{{- include "aries-bridge.check.capture" . }}
{{- if has .Values.bridge.http.host (list "127.0.0.1" "::1" "localhost") }}
- bridge.http.host is {{ .Values.bridge.http.host }}, where the kubelet's probes cannot reach it: use ::, or 0.0.0.0 for IPv4 alone.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.capture" -}}
{{- $c := .Values.bridge.capture -}}
{{- $limit := index (.Values.resources.limits | default dict) "ephemeral-storage" -}}
{{- if and $c.dir (not (kindIs "invalid" $limit)) (or (not $c.volume) (hasKey $c.volume "emptyDir")) }}
{{- $bytes := include "aries-bridge.bytes" $limit -}}
{{- $wanted := add (int64 $c.maxBytes) (mul 64 1048576) -}}
{{- if and $bytes (lt (int64 $bytes) $wanted) }}
- resources.limits.ephemeral-storage is {{ $limit }}, but bridge.capture.maxBytes ({{ int64 $c.maxBytes }}) in an emptyDir and the logs need {{ div (add $wanted 1048575) 1048576 }}Mi, and the pod would be evicted: raise the limit, lower bridge.capture.maxBytes, or set bridge.capture.volume.
{{- end }}
{{- end }}
{{- if and $c.dir (eq $c.mode "incidents") (eq (int64 $c.flightRecorderBytes) 0) }}
- bridge.capture.mode is incidents, but bridge.capture.flightRecorderBytes is 0: nothing would be written.
{{- end }}
{{- if gt (int64 $c.flightRecorderBytes) (div (int64 $c.maxBytes) 2) }}
- bridge.capture.flightRecorderBytes ({{ int64 $c.flightRecorderBytes }}) exceeds half of bridge.capture.maxBytes ({{ int64 $c.maxBytes }}): raise the latter.
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.secrets" -}}
{{- $secret := "^(ARIES_(ACCESS_TOKEN|CLIENT_SECRET|REFRESH_TOKEN|API_KEY)|KAFKA_(SASL_PASSWORD|OAUTH_CLIENT_SECRET|OAUTH_CLIENT_ASSERTION|OAUTH_TOKEN|SSL_KEY_PASSWORD)|SCHEMA_REGISTRY_(PASSWORD|BEARER_TOKEN|OAUTH_CLIENT_SECRET|KEY_PASSWORD))$" -}}
{{- range $index, $variable := .Values.extraEnv }}
{{- if and (regexMatch $secret $variable.name) $variable.value }}
- extraEnv[{{ $index }}] has {{ $variable.name }} as a plain value, which is readable in the cluster: put it into a Secret and name that (existingSecret), or use valueFrom.
{{- end }}
{{- end }}
{{- $e := .Values.externalSecrets -}}
{{- if $e.enabled }}
{{- if not $e.secretStoreRef.name }}
- externalSecrets.secretStoreRef.name is not set: set it to the name of the store.
{{- end }}
{{- if not (or $e.aries.data $e.aries.dataFrom $e.kafka.data $e.kafka.dataFrom $e.schemaRegistry.data $e.schemaRegistry.dataFrom) }}
- externalSecrets is enabled, but has neither data nor dataFrom for aries, kafka or schemaRegistry: set what to fetch.
{{- end }}
{{- range $side := list "aries" "kafka" "schemaRegistry" }}
{{- $wanted := index $e $side -}}
{{- if and (index $.Values $side).existingSecret (or $wanted.data $wanted.dataFrom) }}
- {{ $side }}.existingSecret and externalSecrets.{{ $side }} are both set: keep one.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "aries-bridge.check.objects" -}}
{{- $m := .Values.monitoring -}}
{{- if and $m.podMonitor.enabled $m.serviceMonitor.enabled }}
- monitoring.podMonitor and monitoring.serviceMonitor are both enabled, so that metrics would be scraped twice: keep one.
{{- end }}
{{- if and $m.prometheusRule.enabled (not $m.prometheusRule.runbookUrl) }}
- monitoring.prometheusRule.runbookUrl is not set: set it to the URL of the chart's README.md; each alert links to its section there.
{{- end }}
{{- $pdb := .Values.podDisruptionBudget -}}
{{- if and (include "aries-bridge.hasBudget" .) (kindIs "invalid" $pdb.minAvailable) (kindIs "invalid" $pdb.maxUnavailable) }}
- podDisruptionBudget is enabled, but has neither minAvailable nor maxUnavailable: set one.
{{- end }}
{{- $strimzi := .Values.strimzi -}}
{{- if and (or $strimzi.topics.enabled $strimzi.user.enabled) (not $strimzi.cluster) }}
- strimzi.cluster is not set: name the Kafka object that the topics and the user belong to.
{{- end }}
{{- if and $strimzi.topics.enabled (gt (int $strimzi.topics.minInsyncReplicas) (int $strimzi.topics.replicas)) }}
- strimzi.topics.minInsyncReplicas ({{ int $strimzi.topics.minInsyncReplicas }}) exceeds strimzi.topics.replicas ({{ int $strimzi.topics.replicas }}): no record could be written.
{{- end }}
{{- $topics := .Values.topics -}}
{{- if and $topics.create $strimzi.topics.enabled }}
- topics.create and strimzi.topics.enabled both create the topics: keep one.
{{- end }}
{{- if and $topics.create $strimzi.user.enabled }}
- topics.create needs Kafka's credentials before the release is installed, but strimzi.user is installed with it: set strimzi.topics.enabled instead, or create the user beforehand.
{{- end }}
{{- if and $topics.create .Values.externalSecrets.enabled (or .Values.externalSecrets.kafka.data .Values.externalSecrets.kafka.dataFrom) }}
- topics.create needs Kafka's credentials before the release is installed, but externalSecrets.kafka is installed with it: create that Secret beforehand (kafka.existingSecret), or the topics by `aries-bridge topics`.
{{- end }}
{{- if and $topics.create (include "aries-bridge.isIdentity" .) }}
- topics.create needs the service account before the release is installed, as Kafka's login depends on it (serviceAccount.annotations, or a token of it), but the release creates it: create it beforehand (serviceAccount.create: false), or the topics by `aries-bridge topics`.
{{- end }}
{{- if and $topics.minInsyncReplicas $topics.replicas (gt (int $topics.minInsyncReplicas) (int $topics.replicas)) }}
- topics.minInsyncReplicas ({{ int $topics.minInsyncReplicas }}) exceeds topics.replicas ({{ int $topics.replicas }}): no record could be written.
{{- end }}
{{- end -}}
