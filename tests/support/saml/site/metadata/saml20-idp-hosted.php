<?php

/* The identity provider; tests change what it does through options.json. */

$options = json_decode(file_get_contents(__DIR__ . '/../options.json'), true);
$metadata[$options['address'] . '/entity'] = $options['provider'] + [
    'host' => '__DEFAULT__',
    'auth' => 'people',
    'privatekey' => 'first.key',
    'certificate' => 'first.crt',
    'validate.authnrequest' => true,
    'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:basic',
    'authproc' => [3 => ['class' => 'saml:PersistentNameID', 'attribute' => 'uid']],
    'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
];
